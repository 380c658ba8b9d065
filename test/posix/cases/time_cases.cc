// Which times each call moves: of the file and of the directories it changes. Times themselves are
// not part of a result, only whether they moved.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <string>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

bool operator!=(const timespec& a, const timespec& b) {
  return a.tv_sec != b.tv_sec || a.tv_nsec != b.tv_nsec;
}

struct stat Look(const char* path) {
  struct stat st;
  if (lstat(path, &st) != 0) Die(std::string("look at ") + path);
  return st;
}

void LetTimePass() {  // more than a tick of the coarsest clock
  const timespec pause = {0, 15'000'000};
  nanosleep(&pause, nullptr);
}

void NoteMoved(Result& result, const char* what, const struct stat& before,
               const struct stat& after) {
  std::string moved;
  if (before.st_mtim != after.st_mtim) moved += 'm';
  if (before.st_ctim != after.st_ctim) moved += 'c';
  result.Note(what, moved.empty() ? "still" : moved);
}

struct Change {
  const char* name;
  const char* file_after;  // where "d/f" is afterwards; null: gone
  void (*run)(Result&);
};
const Change kChanges[] = {
    {"nothing", "d/f", [](Result&) {}},
    {"read", "d/f", [](Result& r) { r.Note("text", ReadFile("d/f")); }},
    {"write", "d/f",
     [](Result& r) {
       const Fd fd(open("d/f", O_WRONLY));
       r.Try("write", write(fd, "W", 1));
     }},
    {"truncate_shorter", "d/f", [](Result& r) { r.Try("truncate", truncate("d/f", 2)); }},
    {"truncate_to_same", "d/f", [](Result& r) { r.Try("truncate", truncate("d/f", 4)); }},
    {"ftruncate_to_same", "d/f",
     [](Result& r) {
       const Fd fd(open("d/f", O_WRONLY));
       r.Try("ftruncate", ftruncate(fd, 4));
     }},
    {"open_trunc", "d/f",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("d/f", O_WRONLY | O_TRUNC)))); }},
    {"fallocate", "d/f",
     [](Result& r) {
       const Fd fd(open("d/f", O_WRONLY));
       r.Try("fallocate", fallocate(fd, 0, 0, 8192));
     }},
    {"chmod", "d/f", [](Result& r) { r.Try("chmod", chmod("d/f", 0600)); }},
    {"chmod_to_same", "d/f", [](Result& r) { r.Try("chmod", chmod("d/f", 0644)); }},
    {"chown", "d/f", [](Result& r) { r.Try("chown", chown("d/f", 1001, 1001)); }},
    {"setxattr", "d/f", [](Result& r) { r.Try("setxattr", setxattr("d/f", "user.a", "v", 1, 0)); }},
    {"link", "d/f", [](Result& r) { r.Try("link", link("d/f", "d/second")); }},
    {"unlink", nullptr, [](Result& r) { r.Try("unlink", unlink("d/f")); }},
    {"unlink_other_link", "d/f", [](Result& r) { r.Try("unlink", unlink("twin")); }},
    {"rename", "d/g", [](Result& r) { r.Try("rename", rename("d/f", "d/g")); }},
    {"rename_out", "g", [](Result& r) { r.Try("rename", rename("d/f", "g")); }},
    {"create", "d/f", [](Result&) { MakeFile("d/new", ""); }},
    {"open_existing_creat", "d/f",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("d/f", O_WRONLY | O_CREAT, 0600)))); }},
    {"mkdir", "d/f", [](Result& r) { r.Try("mkdir", mkdir("d/new", 0755)); }},
    {"symlink", "d/f", [](Result& r) { r.Try("symlink", symlink("to", "d/new")); }},
    {"chmod_dir", "d/f", [](Result& r) { r.Try("chmod", chmod("d", 0700)); }},
    {"failed_unlink", "d/f", [](Result& r) { r.Try("unlink", unlink("d/none")); }},
    {"failed_mkdir", "d/f", [](Result& r) { r.Try("mkdir", mkdir("d/f", 0755)); }},
};

struct Setting {
  const char* name;
  timespec times[2];
};
const Setting kSettings[] = {
    {"epoch", {{0, 0}, {0, 0}}},
    {"nanoseconds", {{1'000'000'000, 123'456'789}, {1'000'000'001, 999'999'999}}},
    {"before_epoch", {{-1, 0}, {-86400, 5}}},
    {"past_2038", {{2'147'483'648, 1}, {4'294'967'296, 2}}},
    {"far_future", {{99'999'999'999, 0}, {99'999'999'999, 0}}},
    {"far_past", {{-99'999'999'999, 0}, {-99'999'999'999, 0}}},
    {"only_atime", {{5, 6}, {0, UTIME_OMIT}}},
    {"only_mtime", {{0, UTIME_OMIT}, {7, 8}}},
    {"neither", {{0, UTIME_OMIT}, {0, UTIME_OMIT}}},
    {"too_many_nanoseconds", {{1, 1'000'000'000}, {1, 0}}},
};

std::string Shown(const timespec& time) {
  return std::to_string(time.tv_sec) + "." + std::to_string(time.tv_nsec);
}

}  // namespace

void AddTimeCases(Cases& cases) {
  for (const Change& change : kChanges) {
    cases.push_back({std::string("time/moved_by/") + change.name, [&change](Result& result) {
                       MakeDirectory("d");
                       MakeFile("d/f", "text");
                       if (link("d/f", "twin") != 0) Die("link");
                       const struct stat file = Look("d/f");
                       const struct stat dir = Look("d");
                       LetTimePass();
                       change.run(result);
                       LetTimePass();
                       NoteMoved(result, "dir", dir, Look("d"));
                       if (change.file_after != nullptr) {
                         NoteMoved(result, "file", file, Look(change.file_after));
                       } else {
                         NoteMoved(result, "twin", file, Look("twin"));
                       }
                     }});
  }
  for (const char* const kind : {"file", "dir", "link", "fifo"}) {
    for (const Setting& setting : kSettings) {
      cases.push_back(
          {std::string("time/set/") + kind + "/" + setting.name, [kind, &setting](Result& result) {
             MakeFile("file", "text");
             MakeDirectory("dir");
             MakeSymlink("file", "link");
             if (mkfifo("fifo", 0644) != 0) Die("make a FIFO");
             const timespec first[2] = {{11, 0}, {12, 0}};
             if (utimensat(AT_FDCWD, kind, first, AT_SYMLINK_NOFOLLOW) != 0) Die("set");
             result.Try("utimensat", utimensat(AT_FDCWD, kind, setting.times, AT_SYMLINK_NOFOLLOW));
             const struct stat st = Look(kind);
             result.Note("atime", Shown(st.st_atim));
             result.Note("mtime", Shown(st.st_mtim));
           }});
    }
  }
  cases.push_back({"time/set/through_descriptor", [](Result& result) {
                     MakeFile("file", "text");
                     const Fd fd(open("file", O_RDONLY));
                     const timespec times[2] = {{100, 1}, {200, 2}};
                     result.Try("futimens", futimens(fd, times));
                     result.Note("mtime", Shown(Look("file").st_mtim));
                   }});
  cases.push_back({"time/set/survives_close_after_write", [](Result& result) {
                     const Fd fd(open("file", O_WRONLY | O_CREAT, 0644));
                     result.Try("write", write(fd, "text", 4));
                     const timespec times[2] = {{100, 1}, {200, 2}};
                     result.Try("futimens", futimens(fd, times));
                     { const Fd closed(dup(fd)); }
                     result.Try("fsync", fsync(fd));
                     result.Note("mtime", Shown(Look("file").st_mtim));
                   }});
  cases.push_back({"time/atime/noatime_and_strict", [](Result& result) {
                     MakeFile("file", "text");
                     const timespec times[2] = {{100, 1}, {200, 2}};
                     if (utimensat(AT_FDCWD, "file", times, 0) != 0) Die("set times");
                     const Fd fd(open("file", O_RDONLY | O_NOATIME));
                     char text[8];
                     result.Try("read", read(fd, text, sizeof(text)));
                     result.Note("atime", Shown(Look("file").st_atim));
                   }});
}

}  // namespace posix_cases
