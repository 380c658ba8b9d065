// Who may do what where: each call by each caller on files of each owner in directories of every
// kind.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <string>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

struct Directory {
  const char* name;
  uid_t uid;
  gid_t gid;
  mode_t mode;
};
constexpr Directory kDirectories[] = {
    {"alices", 1001, 1001, 0755},
    {"alices_private", 1001, 1001, 0700},
    {"alices_unwritable", 1001, 1001, 0555},
    {"alices_unsearchable", 1001, 1001, 0644},
    {"groups", 0, kShared, 0770},
    {"groups_setgid", 0, kShared, 02775},
    {"sticky", 0, 0, 01777},
    {"alices_sticky", 1001, kShared, 01777},
};

struct Subject {
  const char* name;
  uid_t uid;
  gid_t gid;
  mode_t mode;
};
constexpr Subject kSubjects[] = {
    {"alices_0644", 1001, 1001, 0644},  {"alices_6755", 1001, kShared, 06755},
    {"bobs_0660", 1002, kShared, 0660}, {"roots_0666", 0, 0, 0666},
    {"roots_0040", 0, kShared, 0040},
};

struct Call {
  const char* name;
  void (*run)(Result&);
  // Whether it is about directories in the directory; otherwise there are none, which saves time.
  bool moves_directories = false;
};

// "f" is the subject and "d" an empty directory of the same owner, both in the directory.
const Call kCallsOnFile[] = {
    {"open_r", [](Result& r) { Fd(static_cast<int>(r.Try("open", open("dir/f", O_RDONLY)))); }},
    {"write",
     [](Result& r) {
       const Fd fd(static_cast<int>(r.Try("open", open("dir/f", O_WRONLY))));
       if (fd >= 0) r.Try("write", write(fd, "W", 1));  // takes the setuid bits away
     }},
    {"open_trunc",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("dir/f", O_WRONLY | O_TRUNC)))); }},
    {"open_noatime",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("dir/f", O_RDONLY | O_NOATIME)))); }},
    {"access_w",
     [](Result& r) { r.Try("access", faccessat(AT_FDCWD, "dir/f", W_OK, AT_EACCESS)); }},
    {"access_x",
     [](Result& r) { r.Try("access", faccessat(AT_FDCWD, "dir/f", X_OK, AT_EACCESS)); }},
    {"unlink", [](Result& r) { r.Try("unlink", unlink("dir/f")); }},
    {"rmdir", [](Result& r) { r.Try("rmdir", rmdir("dir/d")); }, true},
    {"rename", [](Result& r) { r.Try("rename", rename("dir/f", "dir/g")); }},
    {"rename_dir_out", [](Result& r) { r.Try("rename", rename("dir/d", "open/d")); }, true},
    {"rename_over", [](Result& r) { r.Try("rename", rename("open/mine", "dir/f")); }},
    {"exchange",
     [](Result& r) {
       r.Try("rename", renameat2(AT_FDCWD, "open/mine", AT_FDCWD, "dir/f", RENAME_EXCHANGE));
     }},
    {"link_out", [](Result& r) { r.Try("link", link("dir/f", "open/second")); }},
    {"chmod", [](Result& r) { r.Try("chmod", chmod("dir/f", 0600)); }},
    {"chmod_setids", [](Result& r) { r.Try("chmod", chmod("dir/f", 06750)); }},
    {"chown_uid", [](Result& r) { r.Try("chown", chown("dir/f", 1002, -1)); }},
    {"chown_same", [](Result& r) { r.Try("chown", chown("dir/f", 1001, -1)); }},
    {"chgrp_shared", [](Result& r) { r.Try("chown", chown("dir/f", -1, kShared)); }},
    {"chgrp_foreign", [](Result& r) { r.Try("chown", chown("dir/f", -1, 1002)); }},
    {"chown_nothing", [](Result& r) { r.Try("chown", chown("dir/f", -1, -1)); }},
    {"truncate", [](Result& r) { r.Try("truncate", truncate("dir/f", 2)); }},
    {"utimes_now", [](Result& r) { r.Try("utimensat", utimensat(AT_FDCWD, "dir/f", nullptr, 0)); }},
    {"utimes_set",
     [](Result& r) {
       const timespec times[2] = {{1, 0}, {2, 0}};
       r.Try("utimensat", utimensat(AT_FDCWD, "dir/f", times, 0));
     }},
    {"utimes_half_now",
     [](Result& r) {
       const timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
       r.Try("utimensat", utimensat(AT_FDCWD, "dir/f", times, 0));
     }},
    {"setxattr", [](Result& r) { r.Try("setxattr", setxattr("dir/f", "user.a", "v", 1, 0)); }},
    {"getxattr",
     [](Result& r) {
       char value[8];
       r.Try("getxattr", getxattr("dir/f", "user.a", value, sizeof(value)));
     }},
    {"setxattr_trusted",
     [](Result& r) { r.Try("setxattr", setxattr("dir/f", "trusted.a", "v", 1, 0)); }},
};

const Call kCallsOnDirectory[] = {
    {"create",
     [](Result& r) {
       Fd(static_cast<int>(r.Try("open", open("dir/new", O_WRONLY | O_CREAT, 0666))));
     }},
    {"create_setids",
     [](Result& r) {
       Fd(static_cast<int>(r.Try("open", open("dir/new", O_WRONLY | O_CREAT, 06777))));
     }},
    {"create_unreadable",  // a file may be made with a mode that its maker could not open it by
     [](Result& r) {
       const Fd fd(static_cast<int>(r.Try("open", open("dir/new", O_RDWR | O_CREAT, 0000))));
       if (fd >= 0) r.Try("write", write(fd, "x", 1));
     }},
    {"mkdir", [](Result& r) { r.Try("mkdir", mkdir("dir/new", 0777)); }},
    {"mkdir_setids", [](Result& r) { r.Try("mkdir", mkdir("dir/new", 07777)); }},
    {"symlink", [](Result& r) { r.Try("symlink", symlink("to", "dir/new")); }},
    {"mkfifo", [](Result& r) { r.Try("mkfifo", mkfifo("dir/new", 0666)); }},
    {"mknod_char", [](Result& r) { r.Try("mknod", mknod("dir/new", S_IFCHR | 0600, 0x103)); }},
    {"mknod_whiteout", [](Result& r) { r.Try("mknod", mknod("dir/new", S_IFCHR | 0600, 0)); }},
    {"tmpfile",
     [](Result& r) {
       const Fd fd(static_cast<int>(r.Try("open", open("dir", O_RDWR | O_TMPFILE, 0640))));
       if (fd < 0) return;
       r.Try("link", linkat(AT_FDCWD, ("/proc/self/fd/" + std::to_string(fd)).c_str(), AT_FDCWD,
                            "dir/new", AT_SYMLINK_FOLLOW));
     }},
    {"link_in", [](Result& r) { r.Try("link", link("open/mine", "dir/new")); }},
    {"rename_in", [](Result& r) { r.Try("rename", rename("open/mine", "dir/new")); }},
    {"rename_dir_in", [](Result& r) { r.Try("rename", rename("open/mydir", "dir/new")); }, true},
    {"list",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("dir", O_RDONLY | O_DIRECTORY)))); }},
    {"stat_inside",
     [](Result& r) {
       struct stat st;
       r.Try("stat", stat("dir/there", &st));
     }},
    {"stat_missing",
     [](Result& r) {
       struct stat st;
       r.Try("stat", stat("dir/missing", &st));
     }},
    {"chdir",
     [](Result& r) {
       const Fd here(open(".", O_PATH | O_DIRECTORY));
       if (r.Try("chdir", chdir("dir")) == 0 && fchdir(here) != 0) Die("go back");
     }},
    {"chmod", [](Result& r) { r.Try("chmod", chmod("dir", 03755)); }},
    {"chgrp_shared", [](Result& r) { r.Try("chown", chown("dir", -1, kShared)); }},
    {"rmdir", [](Result& r) { r.Try("rmdir", rmdir("dir")); }},
    {"utimes_now", [](Result& r) { r.Try("utimensat", utimensat(AT_FDCWD, "dir", nullptr, 0)); }},
};

void Prepare(const Directory& directory, const User& caller, const Call& call) {
  SetMode(".", 0777);
  MakeDirectory("dir");
  MakeDirectory("open", 0777);
  MakeFile("open/mine", "mine");
  Own("open/mine", caller.uid, caller.gid);
  if (call.moves_directories) {
    MakeDirectory("open/mydir");
    Own("open/mydir", caller.uid, caller.gid);
  }
  Own("dir", directory.uid, directory.gid);
  SetMode("dir", directory.mode);
}

}  // namespace

void AddPermissionCases(Cases& cases) {
  for (const User* const caller : {&kRoot, &kAlice, &kBob}) {
    for (const Directory& directory : kDirectories) {
      const std::string where = std::string(directory.name) + "/by_" + caller->name + "/";
      for (const Call& call : kCallsOnDirectory) {
        cases.push_back(
            {"permission/" + where + call.name, [&call, &directory, caller](Result& result) {
               Prepare(directory, *caller, call);
               MakeFile("dir/there", "there");
               const As as(*caller);
               call.run(result);
             }});
      }
      for (const Subject& subject : kSubjects) {
        for (const Call& call : kCallsOnFile) {
          cases.push_back({"permission/" + where + call.name + "/" + subject.name,
                           [&call, &directory, &subject, caller](Result& result) {
                             Prepare(directory, *caller, call);
                             MakeFile("dir/f", "text");
                             MakeDirectory("dir/d");
                             Own("dir/f", subject.uid, subject.gid);
                             Own("dir/d", subject.uid, subject.gid);
                             SetMode("dir/f",
                                     subject.mode);  // after the owner, which takes setuid away
                             const As as(*caller);
                             call.run(result);
                           }});
        }
      }
    }
  }
}

}  // namespace posix_cases
