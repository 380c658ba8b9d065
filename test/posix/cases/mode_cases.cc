// Modes of new files: umask, setgid directories, default ACLs apart (xattr_cases.cc); and what a
// change of owner, group, mode or content does to the setuid and setgid bits.

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

constexpr mode_t kUmasks[] = {0, 022, 027, 077, 0177, 0777};
constexpr mode_t kModes[] = {0, 0400, 0644, 0666, 0755, 0777, 01777, 02755, 04755, 07777};

void AllKinds(Result& result, const char* prefix, mode_t mode) {
  const std::string p = prefix;
  Fd(static_cast<int>(result.Try("open", open((p + "file").c_str(), O_CREAT | O_WRONLY, mode))));
  result.Try("mkdir", mkdir((p + "dir").c_str(), mode));
  result.Try("mkfifo", mkfifo((p + "fifo").c_str(), mode));
  result.Try("mknod", mknod((p + "node").c_str(), S_IFREG | mode, 0));
  result.Try("socket", mknod((p + "socket").c_str(), S_IFSOCK | mode, 0));
  result.Try("symlink", symlink("to", (p + "link").c_str()));
}

struct Change {
  const char* name;
  void (*run)(Result&);
};
// To "f", made with every combination of setuid, setgid and group execute.
const Change kChanges[] = {
    {"write",
     [](Result& r) {
       const Fd fd(open("f", O_WRONLY));
       if (fd >= 0) r.Try("write", write(fd, "W", 1));
     }},
    {"write_nothing",
     [](Result& r) {
       const Fd fd(open("f", O_WRONLY));
       if (fd >= 0) r.Try("write", write(fd, "", 0));
     }},
    {"append",
     [](Result& r) {
       const Fd fd(open("f", O_WRONLY | O_APPEND));
       if (fd >= 0) r.Try("write", write(fd, "W", 1));
     }},
    {"truncate", [](Result& r) { r.Try("truncate", truncate("f", 1)); }},
    {"truncate_to_same", [](Result& r) { r.Try("truncate", truncate("f", 4)); }},
    {"ftruncate",
     [](Result& r) {
       const Fd fd(open("f", O_WRONLY));
       if (fd >= 0) r.Try("ftruncate", ftruncate(fd, 1));
     }},
    {"open_trunc",
     [](Result& r) { Fd(static_cast<int>(r.Try("open", open("f", O_WRONLY | O_TRUNC)))); }},
    {"fallocate",
     [](Result& r) {
       const Fd fd(open("f", O_WRONLY));
       if (fd >= 0) r.Try("fallocate", fallocate(fd, 0, 0, 100));
     }},
    {"chown_same", [](Result& r) { r.Try("chown", chown("f", 1001, 1001)); }},
    {"chown_minus_one", [](Result& r) { r.Try("chown", chown("f", -1, -1)); }},
    {"chgrp", [](Result& r) { r.Try("chown", chown("f", -1, kShared)); }},
    {"chmod_all", [](Result& r) { r.Try("chmod", chmod("f", 07777)); }},
    {"chmod_0600", [](Result& r) { r.Try("chmod", chmod("f", 0600)); }},
    {"utimes", [](Result& r) { r.Try("utimensat", utimensat(AT_FDCWD, "f", nullptr, 0)); }},
    {"link", [](Result& r) { r.Try("link", link("f", "second")); }},
    {"rename", [](Result& r) { r.Try("rename", rename("f", "g")); }},
};

}  // namespace

void AddModeCases(Cases& cases) {
  for (const mode_t mask : kUmasks) {
    for (const mode_t mode : kModes) {
      cases.push_back({"mode/umask_" + Octal(mask) + "/" + Octal(mode), [mask, mode](Result& r) {
                         SetMode(".", 0777);
                         const As as(kAlice);
                         umask(mask);
                         AllKinds(r, "", mode);
                       }});
    }
  }
  struct Parent {
    const char* name;
    mode_t mode;
    gid_t gid;
  };
  static constexpr Parent kParents[] = {{"setgid_shared", 02777, kShared},
                                        {"setgid_foreign", 02777, 3000},
                                        {"setgid_sticky", 03777, kShared},
                                        {"plain_foreign", 0777, 3000}};
  for (const Parent& parent : kParents) {
    for (const User* const user : {&kRoot, &kAlice, &kBob}) {
      for (const mode_t mode : {0644u, 0755u, 02755u, 02745u, 06775u}) {
        cases.push_back(
            {std::string("mode/") + parent.name + "/by_" + user->name + "/" + Octal(mode),
             [&parent, user, mode](Result& r) {
               MakeDirectory("parent");
               Own("parent", 0, parent.gid);
               SetMode("parent", parent.mode);
               const As as(*user);
               AllKinds(r, "parent/", mode);
             }});
      }
    }
  }
  for (const Change& change : kChanges) {
    for (const User* const user : {&kRoot, &kAlice, &kBob}) {
      for (const mode_t mode : {0666u, 02666u, 02676u, 04666u, 06677u, 07777u}) {
        cases.push_back(
            {std::string("mode/change/") + change.name + "/by_" + user->name + "/" + Octal(mode),
             [&change, user, mode](Result& r) {
               SetMode(".", 0777);
               MakeFile("f", "text");
               Own("f", 1001, 1001);
               SetMode("f", mode);
               const As as(*user);
               change.run(r);
             }});
      }
    }
  }
  // A member of the group may give setgid, others not; the directory keeps its own.
  for (const User* const user : {&kRoot, &kAlice}) {
    for (const gid_t gid : {1001u, 2000u, 3000u}) {
      cases.push_back(
          {std::string("mode/chmod_setgid/by_") + user->name + "/group_" + std::to_string(gid),
           [user, gid](Result& r) {
             MakeFile("f", "text");
             MakeDirectory("d");
             Own("f", 1001, gid);
             Own("d", 1001, gid);
             const As as(*user);
             r.Try("chmod", chmod("f", 02755));
             r.Try("chmod", chmod("d", 02755));
             r.Try("chmod", chmod("d", 01755));
           }});
    }
  }
}

}  // namespace posix_cases
