// Every call that takes a path, on everything that a path can lead to: the numbers of the errors,
// and which of two errors comes first.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

struct Target {
  const char* name;
  std::string path;
  void (*prepare)();
};

void Nothing() {}
void File() { MakeFile("file", "text"); }
void EmptyDirectory() { MakeDirectory("dir"); }
void FullDirectory() {
  MakeDirectory("dir");
  MakeFile("dir/inside", "in");
}
void LinkToFile() {
  MakeFile("aim", "text");
  MakeSymlink("aim", "link");
}
void LinkToDirectory() {
  MakeDirectory("aim");
  MakeFile("aim/inside", "in");
  MakeSymlink("aim", "link");
}
void Dangling() { MakeSymlink("gone", "link"); }
void Loop() {
  MakeSymlink("pool", "loop");
  MakeSymlink("loop", "pool");
}
void Fifo() {
  if (mkfifo("fifo", 0644) != 0) Die("make a FIFO");
}
void Socket() {
  if (mknod("socket", S_IFSOCK | 0644, 0) != 0) Die("make a socket");
}
void Chain() {  // of as many links as may be followed
  MakeFile("aim", "text");
  std::string last = "aim";
  for (int i = 0; i < 40; ++i) {
    const std::string link = "link" + std::to_string(i);
    MakeSymlink(last, link);
    last = link;
  }
}

std::string Dots(size_t length, const std::string& last) {  // "./././last", `length` bytes
  std::string path;
  while (path.size() + 2 + last.size() <= length) path += "./";
  if (path.size() + last.size() < length) path += "/";
  return path + last;
}

const std::vector<Target>& Targets() {
  static const std::vector<Target> targets = {
      {"missing", "gone", Nothing},
      {"below_missing", "gone/name", Nothing},
      {"file", "file", File},
      {"empty_dir", "dir", EmptyDirectory},
      {"full_dir", "dir", FullDirectory},
      {"link_to_file", "link", LinkToFile},
      {"link_to_dir", "link", LinkToDirectory},
      {"dangling", "link", Dangling},
      {"loop", "loop", Loop},
      {"fifo", "fifo", Fifo},
      {"socket", "socket", Socket},
      {"missing_slash", "gone/", Nothing},
      {"file_slash", "file/", File},
      {"dir_slash", "dir/", EmptyDirectory},
      {"link_to_file_slash", "link/", LinkToFile},
      {"link_to_dir_slash", "link/", LinkToDirectory},
      {"dangling_slash", "link/", Dangling},
      {"below_file", "file/name", File},
      {"below_fifo", "fifo/name", Fifo},
      {"below_link_to_dir", "link/inside", LinkToDirectory},
      {"below_dangling", "link/name", Dangling},
      {"below_loop", "loop/name", Loop},
      {"dir_dot", "dir/.", EmptyDirectory},
      {"dir_dotdot", "dir/..", EmptyDirectory},
      {"full_dir_dotdot", "dir/..", FullDirectory},
      {"dot", ".", Nothing},
      {"empty", "", Nothing},
      {"slashes", ".//dir///inside", FullDirectory},
      {"chain_of_40", "link39", Chain},
      {"chain_of_39", "link38", Chain},
      {"name_of_255", std::string(255, 'n'), Nothing},
      {"name_of_255_there", std::string(255, 'n'), [] { MakeFile(std::string(255, 'n'), "long"); }},
      {"name_of_256", std::string(256, 'n'), Nothing},
      {"name_of_1024", std::string(1024, 'n'), Nothing},
      {"name_of_1025", std::string(1025, 'n'), Nothing},
      {"path_of_4095", Dots(4095, "file"), File},
      {"path_of_4096", Dots(4096, "file"), File},
      {"path_of_4095_missing", Dots(4095, "gone"), Nothing},
      {"below_name_of_256", std::string(256, 'n') + "/name", Nothing},
  };
  return targets;
}

struct Call {
  const char* name;
  void (*run)(Result&, const char*);
};

template <int kFlags>
void Open(Result& result, const char* path) {
  const Fd fd(static_cast<int>(result.Try("open", open(path, kFlags | O_NONBLOCK, 0640))));
  if (fd < 0 || (kFlags & O_PATH) != 0) return;
  if ((kFlags & O_ACCMODE) != O_RDONLY && result.Try("write", pwrite(fd, "W", 1, 0)) < 0) return;
  struct stat st;
  result.Try("fstat", fstat(fd, &st));
  result.Note("is", S_ISDIR(st.st_mode) ? "directory" : Describe(st));
}

void Stat(Result& result, const char* path) {
  struct stat st;
  if (result.Try("stat", stat(path, &st)) == 0) result.Note("is", Describe(st));
}

void Lstat(Result& result, const char* path) {
  struct stat st;
  if (result.Try("lstat", lstat(path, &st)) == 0) result.Note("is", Describe(st));
}

void ReadLink(Result& result, const char* path) {
  char target[4096];
  const long n = result.Try("readlink", readlink(path, target, sizeof(target)));
  if (n >= 0) result.Note("target", std::string(target, static_cast<size_t>(n)));
}

void RenameTo(Result& result, const char* path, unsigned flags, const char* source) {
  const int status = renameat2(AT_FDCWD, source, AT_FDCWD, path, flags);
  result.Try("rename", status);
}

const Call kCalls[] = {
    {"stat", Stat},
    {"lstat", Lstat},
    {"readlink", ReadLink},
    {"open_r", Open<O_RDONLY>},
    {"open_w", Open<O_WRONLY>},
    {"open_rw_trunc", Open<O_RDWR | O_TRUNC>},
    {"open_creat", Open<O_RDWR | O_CREAT>},
    {"open_creat_excl", Open<O_WRONLY | O_CREAT | O_EXCL>},
    {"open_creat_trunc_nofollow", Open<O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW>},
    {"open_creat_directory", Open<O_RDONLY | O_CREAT | O_DIRECTORY>},
    {"open_directory", Open<O_RDONLY | O_DIRECTORY>},
    {"open_nofollow", Open<O_RDONLY | O_NOFOLLOW>},
    {"open_path_nofollow", Open<O_PATH | O_NOFOLLOW>},
    {"open_tmpfile", Open<O_RDWR | O_TMPFILE>},
    {"access_r", [](Result& r, const char* p) { r.Try("access", access(p, R_OK)); }},
    {"access_wx", [](Result& r, const char* p) { r.Try("access", access(p, W_OK | X_OK)); }},
    {"mkdir", [](Result& r, const char* p) { r.Try("mkdir", mkdir(p, 0750)); }},
    {"rmdir", [](Result& r, const char* p) { r.Try("rmdir", rmdir(p)); }},
    {"unlink", [](Result& r, const char* p) { r.Try("unlink", unlink(p)); }},
    {"symlink", [](Result& r, const char* p) { r.Try("symlink", symlink("to", p)); }},
    {"mkfifo", [](Result& r, const char* p) { r.Try("mkfifo", mkfifo(p, 0640)); }},
    {"mknod_file", [](Result& r, const char* p) { r.Try("mknod", mknod(p, S_IFREG | 0604, 0)); }},
    {"mknod_socket",
     [](Result& r, const char* p) { r.Try("mknod", mknod(p, S_IFSOCK | 0600, 0)); }},
    {"chmod", [](Result& r, const char* p) { r.Try("chmod", chmod(p, 0640)); }},
    {"chown", [](Result& r, const char* p) { r.Try("chown", chown(p, 1001, 2000)); }},
    {"lchown", [](Result& r, const char* p) { r.Try("lchown", lchown(p, 1001, 2000)); }},
    {"truncate_0", [](Result& r, const char* p) { r.Try("truncate", truncate(p, 0)); }},
    {"truncate_10", [](Result& r, const char* p) { r.Try("truncate", truncate(p, 10)); }},
    {"truncate_negative", [](Result& r, const char* p) { r.Try("truncate", truncate(p, -1)); }},
    {"utimensat",
     [](Result& r, const char* p) {
       const timespec times[2] = {{1, 2}, {3, 4}};
       if (r.Try("utimensat", utimensat(AT_FDCWD, p, times, 0)) != 0) return;
       struct stat st;
       if (stat(p, &st) == 0) r.Note("mtime", st.st_mtim.tv_sec * 10 + st.st_mtim.tv_nsec);
     }},
    {"utimensat_nofollow",
     [](Result& r, const char* p) {
       const timespec times[2] = {{1, 2}, {3, 4}};
       if (r.Try("utimensat", utimensat(AT_FDCWD, p, times, AT_SYMLINK_NOFOLLOW)) != 0) return;
       struct stat st;
       if (lstat(p, &st) == 0) r.Note("mtime", st.st_mtim.tv_sec * 10 + st.st_mtim.tv_nsec);
     }},
    {"chdir",
     [](Result& r, const char* p) {
       const Fd here(open(".", O_RDONLY | O_DIRECTORY));
       if (r.Try("chdir", chdir(p)) == 0 && fchdir(here) != 0) Die("go back");
     }},
    {"statvfs",
     [](Result& r, const char* p) {
       struct statvfs st;
       if (r.Try("statvfs", statvfs(p, &st)) == 0) r.Note("namemax", st.f_namemax);
     }},
    {"getxattr",
     [](Result& r, const char* p) {
       char value[16];
       r.Try("getxattr", getxattr(p, "user.none", value, sizeof(value)));
     }},
    {"setxattr",
     [](Result& r, const char* p) { r.Try("setxattr", setxattr(p, "user.some", "v", 1, 0)); }},
    {"lsetxattr",
     [](Result& r, const char* p) { r.Try("lsetxattr", lsetxattr(p, "user.some", "v", 1, 0)); }},
    {"listxattr",
     [](Result& r, const char* p) {
       char names[256];
       r.Try("listxattr", listxattr(p, names, sizeof(names)));
     }},
    {"link_from", [](Result& r, const char* p) { r.Try("link", link(p, "second")); }},
    {"link_from_followed",
     [](Result& r, const char* p) {
       r.Try("link", linkat(AT_FDCWD, p, AT_FDCWD, "second", AT_SYMLINK_FOLLOW));
     }},
    {"link_to",
     [](Result& r, const char* p) {
       MakeFile("source", "s");
       r.Try("link", link("source", p));
     }},
    {"rename_from", [](Result& r, const char* p) { r.Try("rename", rename(p, "second")); }},
    {"rename_from_into_dir",
     [](Result& r, const char* p) {
       MakeDirectory("other");
       r.Try("rename", rename(p, "other/second"));
     }},
    {"rename_file_to",
     [](Result& r, const char* p) {
       MakeFile("source", "s");
       RenameTo(r, p, 0, "source");
     }},
    {"rename_dir_to",
     [](Result& r, const char* p) {
       MakeDirectory("source");
       RenameTo(r, p, 0, "source");
     }},
    {"rename_noreplace_to",
     [](Result& r, const char* p) {
       MakeFile("source", "s");
       RenameTo(r, p, RENAME_NOREPLACE, "source");
     }},
    {"rename_exchange",
     [](Result& r, const char* p) {
       MakeFile("source", "s");
       RenameTo(r, p, RENAME_EXCHANGE, "source");
     }},
    {"rename_missing_to", [](Result& r, const char* p) { RenameTo(r, p, 0, "no source"); }},
};

}  // namespace

void AddPathCases(Cases& cases) {
  for (const Call& call : kCalls) {
    for (const Target& target : Targets()) {
      cases.push_back(
          {std::string("path/") + call.name + "/" + target.name, [&call, &target](Result& result) {
             target.prepare();
             call.run(result, target.path.c_str());
           }});
    }
  }
}

}  // namespace posix_cases
