// Many names: big directories listed while they change, trees written and read back as tar does it,
// directories moved about, the working directory removed.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

std::string NameOf(int i) {  // of many lengths, none of them telling the order
  return std::to_string(i * 7919 % 100'003) + std::string(static_cast<size_t>(i % 60), 'x');
}

void MakeMany(const std::string& dir, int count) {
  MakeDirectory(dir);
  for (int i = 0; i < count; ++i) {
    const Fd fd(open((dir + "/" + NameOf(i)).c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644));
    if (fd < 0) Die("fill " + dir);
  }
}

class Listing {
 public:
  explicit Listing(const char* path) : dir_(opendir(path)) {
    if (dir_ == nullptr) Die(std::string("list ") + path);
  }
  ~Listing() { closedir(dir_); }
  Listing(const Listing&) = delete;
  Listing& operator=(const Listing&) = delete;

  // The next `count` names, all for a negative one.
  std::vector<std::string> Take(int count = -1) {
    std::vector<std::string> names;
    while (count-- != 0) {
      const dirent* const entry = readdir(dir_);
      if (entry == nullptr) break;
      names.emplace_back(entry->d_name);
      if (entry->d_type != DT_UNKNOWN) types_.insert(entry->d_type);
    }
    return names;
  }
  DIR* get() const { return dir_; }
  const std::set<unsigned char>& types() const { return types_; }

 private:
  DIR* const dir_;
  std::set<unsigned char> types_;
};

void NoteNames(Result& result, const char* what, std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  const bool twice = std::adjacent_find(names.begin(), names.end()) != names.end();
  std::string all;
  for (const std::string& name : names) all += name + "/";
  result.Note(what, std::to_string(names.size()) + "#" + Checksum(all) + (twice ? ",twice" : ""));
}

void AddBigDirectories(Cases& cases) {
  cases.push_back({"tree/directory_of_10000/listed", [](Result& result) {
                     MakeMany("many", 10'000);
                     Listing listing("many");
                     NoteNames(result, "all", listing.Take());
                     rewinddir(listing.get());
                     NoteNames(result, "again", listing.Take());
                     size_t stats = 0;
                     struct stat st;
                     for (int i = 0; i < 10'000; ++i) {
                       stats += stat(("many/" + NameOf(i)).c_str(), &st) == 0;
                     }
                     result.Note("found", static_cast<long long>(stats));
                     for (int i = 0; i < 10'000; ++i) {
                       if (unlink(("many/" + NameOf(i)).c_str()) != 0) result.Try("unlink", -1);
                     }
                     NoteNames(result, "left", Listing("many").Take());
                   }});
  cases.push_back({"tree/directory/removed_while_listed", [](Result& result) {
                     MakeMany("many", 3000);
                     // As rm -r does it: what is listed is removed at once, and nothing may stay.
                     Listing listing("many");
                     size_t removed = 0;
                     for (;;) {
                       const std::vector<std::string> some = listing.Take(100);
                       if (some.empty()) break;
                       for (const std::string& name : some) {
                         removed += unlink(("many/" + name).c_str()) == 0;
                       }
                     }
                     result.Note("removed", static_cast<long long>(removed));
                     result.Try("rmdir", rmdir("many"));
                   }});
  cases.push_back({"tree/directory/seek", [](Result& result) {
                     MakeMany("many", 1000);
                     Listing listing("many");
                     (void)listing.Take(500);
                     const long at = telldir(listing.get());
                     const std::vector<std::string> rest = listing.Take();
                     seekdir(listing.get(), at);
                     const std::vector<std::string> again = listing.Take();
                     result.Note("rest", static_cast<long long>(rest.size()));
                     result.Note("same", rest == again ? "yes" : "no");
                   }});
  cases.push_back({"tree/directory/changes_seen_after_rewind", [](Result& result) {
                     MakeMany("many", 10);
                     Listing listing("many");
                     NoteNames(result, "before", listing.Take());
                     MakeFile("many/new", "");
                     result.Try("unlink", unlink(("many/" + NameOf(0)).c_str()));
                     rewinddir(listing.get());
                     NoteNames(result, "after", listing.Take());
                   }});
  cases.push_back({"tree/directory/types", [](Result& result) {
                     MakeDirectory("d");
                     MakeFile("d/file", "");
                     MakeDirectory("d/dir");
                     MakeSymlink("file", "d/link");
                     if (mkfifo("d/fifo", 0644) != 0 || mknod("d/sock", S_IFSOCK | 0644, 0) != 0) {
                       Die("make nodes");
                     }
                     Listing listing("d");
                     NoteNames(result, "names", listing.Take());
                     std::string types;
                     for (const unsigned char type : listing.types()) {
                       types += std::to_string(type) + ",";
                     }
                     result.Note("types", types);
                   }});
  cases.push_back({"tree/directory/inode_numbers_agree", [](Result& result) {
                     MakeMany("many", 50);
                     DIR* const dir = opendir("many");
                     long long agree = 0;
                     while (const dirent* const entry = readdir(dir)) {
                       struct stat st;
                       if (entry->d_name[0] != '.' &&
                           fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
                         agree += st.st_ino == entry->d_ino;
                       }
                     }
                     closedir(dir);
                     result.Note("agree", agree);
                   }});
  cases.push_back({"tree/directory/small_buffer", [](Result& result) {
                     MakeDirectory("d");
                     MakeFile("d/" + std::string(200, 'n'), "");
                     const Fd fd(open("d", O_RDONLY | O_DIRECTORY));
                     char buffer[64];
                     for (int i = 0; i < 4; ++i) {
                       const long n = syscall(SYS_getdents64, fd.get(), buffer, sizeof(buffer));
                       if (n <= 0) {
                         result.Try("getdents", n);
                         break;
                       }
                     }
                   }});
  cases.push_back({"tree/directory/deep", [](Result& result) {
                     const Fd here(open(".", O_RDONLY | O_DIRECTORY));
                     for (int i = 0; i < 200; ++i) {
                       MakeDirectory("down");
                       if (chdir("down") != 0) Die("go down");
                     }
                     MakeFile("bottom", "text");
                     char path[8192];
                     result.Note(
                         "cwd", getcwd(path, sizeof(path)) != nullptr ? "known" : ErrnoName(errno));
                     result.Note("text", ReadFile("bottom"));
                     std::string up;
                     for (int i = 0; i < 200; ++i) up += "../";
                     struct stat top;
                     result.Try("stat_up", stat(up.c_str(), &top));
                     struct stat start;
                     if (fstat(here, &start) != 0) Die("fstat");
                     result.Note("same", top.st_ino == start.st_ino ? "yes" : "no");
                     if (fchdir(here) != 0) Die("go back");
                   }});
}

void AddTrees(Cases& cases) {
  cases.push_back({"tree/5000_files/written_and_read_back", [](Result& result) {
                     std::string listed;
                     for (int d = 0; d < 50; ++d) {
                       const std::string dir = "d" + std::to_string(d);
                       MakeDirectory(dir, 0700 | (d % 8));
                       for (int f = 0; f < 100; ++f) {
                         const std::string path = dir + "/" + NameOf(f);
                         std::string content;
                         for (int k = 0; k < f * d % 400; ++k) content += std::to_string(k * f);
                         MakeFile(path, content, 0600 | (f % 64));
                         const timespec times[2] = {{d, f}, {1'000'000 + f, d}};
                         if (utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) Die("set times");
                       }
                     }
                     std::string all;
                     for (int d = 0; d < 50; ++d) {
                       const std::string dir = "d" + std::to_string(d);
                       for (int f = 0; f < 100; ++f) {
                         const std::string path = dir + "/" + NameOf(f);
                         struct stat st;
                         if (stat(path.c_str(), &st) != 0) Die("stat " + path);
                         all += path + Describe(st) + std::to_string(st.st_mtim.tv_sec) + "." +
                                std::to_string(st.st_mtim.tv_nsec) + Checksum(ReadFile(path));
                       }
                     }
                     result.Note("sum", Checksum(all));
                   }});
  cases.push_back({"tree/rename/directory_with_contents", [](Result& result) {
                     MakeDirectory("a");
                     MakeDirectory("a/b");
                     MakeFile("a/b/f", "text");
                     MakeDirectory("other");
                     const Fd held(open("a/b/f", O_RDONLY));
                     const Fd dir(open("a/b", O_RDONLY | O_DIRECTORY));
                     result.Try("rename", rename("a", "other/moved"));
                     result.Note("text", ReadFile("other/moved/b/f"));
                     result.Note("old", ReadFile("a/b/f"));
                     char text[8] = {};
                     result.Note("held", pread(held, text, 4, 0));
                     result.Try("openat", openat(dir, "f", O_RDONLY));
                     result.Try("create_in_held", openat(dir, "g", O_CREAT | O_WRONLY, 0644));
                     result.Note("up",
                                 faccessat(dir, "../../../other", F_OK, 0) == 0 ? "found" : "lost");
                   }});
  cases.push_back({"tree/rename/into_itself", [](Result& result) {
                     MakeDirectory("a");
                     MakeDirectory("a/b");
                     result.Try("below", rename("a", "a/b/c"));
                     result.Try("onto_child", rename("a", "a/b"));
                     result.Try("onto_parent", rename("a/b", "a"));
                     result.Try("exchange",
                                renameat2(AT_FDCWD, "a", AT_FDCWD, "a/b", RENAME_EXCHANGE));
                     result.Try("same", rename("a", "a"));
                   }});
  cases.push_back({"tree/rename/two_names_of_one_file", [](Result& result) {
                     MakeFile("f", "text");
                     result.Try("link", link("f", "g"));
                     result.Try("rename", rename("f", "g"));
                   }});
  cases.push_back({"tree/rename/exchange", [](Result& result) {
                     MakeDirectory("d");
                     MakeFile("d/inside", "in");
                     MakeFile("f", "text");
                     const Fd fd(open("f", O_RDONLY));
                     result.Try("exchange",
                                renameat2(AT_FDCWD, "d", AT_FDCWD, "f", RENAME_EXCHANGE));
                     result.Note("inside", ReadFile("f/inside"));
                     result.Note("file", ReadFile("d"));
                   }});
  cases.push_back(
      {"tree/rename/whiteout", [](Result& result) {
         MakeFile("f", "text");
         result.Try("whiteout", renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_WHITEOUT));
         result.Try("all_flags",
                    renameat2(AT_FDCWD, "g", AT_FDCWD, "h", RENAME_WHITEOUT | RENAME_EXCHANGE));
         result.Try("unknown_flag", renameat2(AT_FDCWD, "g", AT_FDCWD, "h", 64));
       }});
  cases.push_back({"tree/rename/over_and_over", [](Result& result) {
                     MakeFile("f0", "0");
                     for (int i = 0; i < 500; ++i) {
                       const std::string from = "f" + std::to_string(i);
                       const std::string to = "f" + std::to_string(i + 1);
                       if (i % 5 == 0) MakeFile(to, "in the way");
                       if (rename(from.c_str(), to.c_str()) != 0) result.Try("rename", -1);
                     }
                   }});
  cases.push_back({"tree/links/many", [](Result& result) {
                     MakeFile("f", "text");
                     for (int i = 0; i < 1000; ++i) {
                       if (link("f", ("l" + std::to_string(i)).c_str()) != 0)
                         result.Try("link", -1);
                     }
                     struct stat st;
                     result.Try("stat", stat("f", &st));
                     result.Note("links", static_cast<long long>(st.st_nlink));
                     for (int i = 0; i < 1000; i += 2) {
                       if (unlink(("l" + std::to_string(i)).c_str()) != 0) result.Try("unlink", -1);
                     }
                     result.Try("stat", stat("l1", &st));
                     result.Note("links", static_cast<long long>(st.st_nlink));
                   }});
  cases.push_back({"tree/symlinks/long_targets", [](Result& result) {
                     for (const size_t size : {1, 59, 60, 255, 1000, 4000}) {
                       const std::string name = "l" + std::to_string(size);
                       result.Try("symlink", symlink(std::string(size, 't').c_str(), name.c_str()));
                     }
                     result.Try("too_long", symlink(std::string(4096, 't').c_str(), "l4096"));
                     result.Try("empty", symlink("", "l0"));
                     char target[10];
                     result.Note("cut", readlink("l60", target, sizeof(target)));
                   }});
  cases.push_back({"tree/names/any_bytes", [](Result& result) {
                     const std::vector<std::string> names = {"\x01", "\xff\xfe", "new\nline", " ",
                                                             "...",  "..x",      "-",         "\\",
                                                             "a:b",  "\xc3\xa9", "e\xcc\x81"};
                     for (const std::string& name : names) {
                       MakeFile(name, name);
                       result.Note("same", ReadFile(name) == name ? "yes" : "no");
                     }
                     NoteNames(result, "all", Listing(".").Take());
                     for (const std::string& name : names)
                       result.Try("unlink", unlink(name.c_str()));
                   }});
  cases.push_back({"tree/working_directory/removed", [](Result& result) {
                     const Fd here(open(".", O_RDONLY | O_DIRECTORY));
                     MakeDirectory("d");
                     if (chdir("d") != 0) Die("enter d");
                     result.Try("rmdir", rmdir("../d"));
                     char path[4096];
                     result.Try("getcwd", getcwd(path, sizeof(path)) != nullptr ? 0 : -1);
                     result.Try("create", open("new", O_CREAT | O_WRONLY, 0644));
                     result.Try("list", open(".", O_RDONLY | O_DIRECTORY));
                     result.Try("stat_up", access("..", F_OK));
                     if (fchdir(here) != 0) Die("go back");
                   }});
  cases.push_back({"tree/directory/nlink", [](Result& result) {
                     MakeDirectory("d");
                     struct stat st;
                     for (int i = 0; i < 5; ++i) {
                       MakeDirectory("d/" + std::to_string(i));
                       if (stat("d", &st) == 0)
                         result.Note("links", static_cast<long long>(st.st_nlink));
                     }
                     result.Try("rmdir", rmdir("d/3"));
                     result.Try("rename", rename("d/2", "e"));
                     if (stat("d", &st) == 0)
                       result.Note("links", static_cast<long long>(st.st_nlink));
                   }});
}

}  // namespace

void AddTreeCases(Cases& cases) {
  AddBigDirectories(cases);
  AddTrees(cases);
}

}  // namespace posix_cases
