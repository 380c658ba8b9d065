// Extended attributes and ACLs, the latter as the attributes that setfacl(1) writes.

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "test/posix/cases/harness.h"

namespace posix_cases {
namespace {

constexpr char kAccessAcl[] = "system.posix_acl_access";
constexpr char kDefaultAcl[] = "system.posix_acl_default";

// As linux/posix_acl_xattr.h lays it out: version 2, then tag, permissions and id of each entry.
enum Tag : uint16_t { kUserObj = 1, kUser = 2, kGroupObj = 4, kGroup = 8, kMask = 16, kOther = 32 };
struct Entry {
  uint16_t tag;
  uint16_t permissions;
  uint32_t id = 0xffffffff;
};

std::string Acl(const std::vector<Entry>& entries, uint32_t version = 2) {
  std::string bytes(reinterpret_cast<const char*>(&version), sizeof(version));
  for (const Entry& entry : entries) {
    bytes.append(reinterpret_cast<const char*>(&entry.tag), 2);
    bytes.append(reinterpret_cast<const char*>(&entry.permissions), 2);
    bytes.append(reinterpret_cast<const char*>(&entry.id), 4);
  }
  return bytes;
}

std::string Hex(const std::string& bytes) {
  std::string text;
  char two[3];
  for (const unsigned char c : bytes) {
    snprintf(two, sizeof(two), "%02x", c);
    text += two;
  }
  return text;
}

int Set(const char* path, const char* name, const std::string& value, int flags = 0) {
  return setxattr(path, name, value.data(), value.size(), flags);
}

std::string Get(const char* path, const char* name) {
  std::string value(70'000, '\0');
  const ssize_t n = getxattr(path, name, value.data(), value.size());
  if (n < 0) return ErrnoName(errno);
  value.resize(static_cast<size_t>(n));
  return value.size() > 64 ? std::to_string(n) + "#" + Checksum(value) : Hex(value);
}

std::string Names(const char* path) {
  std::string list(70'000, '\0');
  const ssize_t n = llistxattr(path, list.data(), list.size());
  if (n < 0) return ErrnoName(errno);
  list.resize(static_cast<size_t>(n));
  std::vector<std::string> names;
  for (size_t at = 0; at < list.size(); at += names.back().size() + 1) {
    names.emplace_back(list.c_str() + at);
  }
  std::sort(names.begin(), names.end());
  std::string text;
  // A machine with a security module labels every file.
  for (const std::string& name : names) {
    if (name != "security.selinux") text += name.substr(0, 40) + ",";
  }
  return text;
}

std::string ModeOf(const char* path) {
  struct stat st;
  return lstat(path, &st) == 0 ? Octal(st.st_mode & 07777) : ErrnoName(errno);
}

const char* const kKinds[] = {"file", "dir", "link", "fifo", "open"};
void MakeKinds() {
  MakeFile("file", "text");
  MakeFile("open", "text", 0666);
  MakeDirectory("dir");
  MakeSymlink("file", "link");
  if (mkfifo("fifo", 0644) != 0) Die("make a FIFO");
}

void AddAttributes(Cases& cases) {
  struct Name {
    const char* title;
    std::string name;
  };
  static const std::vector<Name> names = {{"user", "user.some"},
                                          {"trusted", "trusted.some"},
                                          {"security", "security.some"},
                                          {"unknown_class", "strange.some"},
                                          {"no_class", "some"},
                                          {"only_class", "user."},
                                          {"system_unknown", "system.some"},
                                          {"long_255", "user." + std::string(250, 'n')},
                                          {"long_256", "user." + std::string(251, 'n')},
                                          {"empty", ""}};
  for (const Name& name : names) {
    for (const User* const user : {&kRoot, &kAlice}) {
      cases.push_back({std::string("xattr/names/") + name.title + "/by_" + user->name,
                       [&name, user](Result& result) {
                         MakeKinds();
                         const As as(*user);
                         for (const char* const kind : kKinds) {
                           result.Try(kind, lsetxattr(kind, name.name.c_str(), "v", 1, 0));
                           result.Note("list", Names(kind));
                           result.Try("remove", lremovexattr(kind, name.name.c_str()));
                         }
                       }});
    }
  }
  cases.push_back({"xattr/values", [](Result& result) {
                     MakeFile("f", "text");
                     for (const size_t size : {0, 1, 64, 1000, 2500}) {
                       result.Try("set", Set("f", "user.some", std::string(size, 'v')));
                       result.Note("value", Get("f", "user.some"));
                     }
                     result.Try("too_big", Set("f", "user.some", std::string(65'537, 'v')));
                     result.Note("value", Get("f", "user.some"));
                   }});
  cases.push_back({"xattr/flags", [](Result& result) {
                     MakeFile("f", "text");
                     result.Try("replace_missing", Set("f", "user.a", "1", XATTR_REPLACE));
                     result.Try("create", Set("f", "user.a", "1", XATTR_CREATE));
                     result.Try("create_again", Set("f", "user.a", "2", XATTR_CREATE));
                     result.Try("replace", Set("f", "user.a", "3", XATTR_REPLACE));
                     result.Try("both", Set("f", "user.a", "4", XATTR_CREATE | XATTR_REPLACE));
                     result.Try("unknown", Set("f", "user.a", "5", 8));
                     result.Note("value", Get("f", "user.a"));
                     result.Try("remove", removexattr("f", "user.a"));
                     result.Try("remove_again", removexattr("f", "user.a"));
                   }});
  cases.push_back({"xattr/sizes_asked_for", [](Result& result) {
                     MakeFile("f", "text");
                     result.Try("set", Set("f", "user.a", "12345"));
                     char value[8] = {};
                     result.Note("size", getxattr("f", "user.a", nullptr, 0));
                     result.Try("too_small", getxattr("f", "user.a", value, 4));
                     result.Note("exact", getxattr("f", "user.a", value, 5));
                     result.Note("list_size", listxattr("f", nullptr, 0) > 0 ? "some" : "none");
                     result.Try("list_too_small", listxattr("f", value, 2));
                   }});
  cases.push_back({"xattr/many", [](Result& result) {
                     MakeFile("f", "text");
                     for (int i = 0; i < 40; ++i) {
                       const std::string name = "user.name" + std::to_string(i);
                       if (Set("f", name.c_str(), name) != 0) result.Try("set", -1);
                     }
                     result.Note("names", Checksum(Names("f")));
                     for (int i = 0; i < 40; i += 2) {
                       if (removexattr("f", ("user.name" + std::to_string(i)).c_str()) != 0) {
                         result.Try("remove", -1);
                       }
                     }
                     result.Note("names", Checksum(Names("f")));
                   }});
  cases.push_back({"xattr/stays_through_rename_and_link", [](Result& result) {
                     MakeFile("f", "text");
                     result.Try("set", Set("f", "user.a", "1"));
                     result.Try("rename", rename("f", "g"));
                     result.Try("link", link("g", "h"));
                     result.Note("g", Get("g", "user.a"));
                     result.Note("h", Get("h", "user.a"));
                   }});
  cases.push_back({"xattr/by_descriptor", [](Result& result) {
                     MakeFile("f", "text");
                     const Fd fd(open("f", O_RDONLY));
                     result.Try("fset", fsetxattr(fd, "user.a", "1", 1, 0));
                     result.Try("unlink", unlink("f"));
                     char value[4];
                     result.Note("fget", fgetxattr(fd, "user.a", value, sizeof(value)));
                     result.Try("fset", fsetxattr(fd, "user.b", "2", 1, 0));
                     result.Try("fremove", fremovexattr(fd, "user.a"));
                     result.Try("fget", fgetxattr(fd, "user.a", value, sizeof(value)));
                   }});
  cases.push_back({"xattr/capability_goes_with_a_write", [](Result& result) {
                     MakeFile("f", "text", 0755);
                     // vfs_cap_data, revision 2, effective CAP_NET_RAW
                     std::string value(20, '\0');
                     value[0] = 1;
                     value[3] = 2;
                     value[5] = 0x20;
                     result.Try("set", Set("f", "security.capability", value));
                     result.Note("value", Get("f", "security.capability"));
                     {
                       const Fd fd(open("f", O_WRONLY));
                       result.Try("write", write(fd, "W", 1));
                     }
                     result.Note("written", Get("f", "security.capability"));
                     result.Try("set", Set("f", "security.capability", value));
                     result.Try("chown", chown("f", 1001, -1));
                     result.Note("given_away", Get("f", "security.capability"));
                     result.Try("set", Set("f", "security.capability", value));
                     result.Try("truncate", truncate("f", 1));
                     result.Note("truncated", Get("f", "security.capability"));
                   }});
}

void AddAcls(Cases& cases) {
  cases.push_back(
      {"acl/access/mode_follows", [](Result& result) {
         MakeFile("f", "text", 0640);
         result.Try(
             "set",
             Set("f", kAccessAcl,
                 Acl({{kUserObj, 6}, {kUser, 6, 1001}, {kGroupObj, 4}, {kMask, 6}, {kOther, 0}})));
         result.Note("mode", ModeOf("f"));
         result.Note("acl", Get("f", kAccessAcl));
         result.Note("list", Names("f"));
         result.Try("chmod", chmod("f", 0604));
         result.Note("mode", ModeOf("f"));
         result.Note("acl", Get("f", kAccessAcl));
         result.Try("remove", removexattr("f", kAccessAcl));
         result.Note("mode", ModeOf("f"));
         result.Note("acl", Get("f", kAccessAcl));
       }});
  cases.push_back(
      {"acl/access/minimal_is_the_mode", [](Result& result) {
         MakeFile("f", "text", 0640);
         result.Try("set", Set("f", kAccessAcl, Acl({{kUserObj, 7}, {kGroupObj, 5}, {kOther, 1}})));
         result.Note("mode", ModeOf("f"));
         result.Note("acl", Get("f", kAccessAcl));
       }});
  cases.push_back({"acl/access/named_user_and_group", [](Result& result) {
                     MakeFile("f", "text", 0600);
                     SetMode(".", 0755);
                     result.Try("set", Set("f", kAccessAcl,
                                           Acl({{kUserObj, 6},
                                                {kUser, 4, 1001},
                                                {kGroupObj, 0},
                                                {kGroup, 6, kShared},
                                                {kMask, 6},
                                                {kOther, 0}})));
                     for (const User* const user : {&kAlice, &kBob}) {
                       const As as(*user);
                       Fd(static_cast<int>(result.Try("r", open("f", O_RDONLY))));
                       Fd(static_cast<int>(result.Try("w", open("f", O_WRONLY))));
                     }
                     result.Try("narrow_mask", chmod("f", 0640));
                     const As as(kBob);
                     Fd(static_cast<int>(result.Try("r", open("f", O_RDONLY))));
                     Fd(static_cast<int>(result.Try("w", open("f", O_WRONLY))));
                   }});
  cases.push_back(
      {"acl/access/who_may_set", [](Result& result) {
         MakeFile("f", "text", 0666);
         Own("f", 1001, 1001);
         const std::string acl =
             Acl({{kUserObj, 6}, {kUser, 6, 1002}, {kGroupObj, 4}, {kMask, 6}, {kOther, 0}});
         {
           const As as(kBob);
           result.Try("bob", Set("f", kAccessAcl, acl));
         }
         {
           const As as(kAlice);
           result.Try("alice", Set("f", kAccessAcl, acl));
         }
         result.Note("mode", ModeOf("f"));
       }});
  cases.push_back(
      {"acl/access/setgid_of_a_foreign_group_goes", [](Result& result) {
         MakeFile("f", "text");
         Own("f", 1001, 3000);
         SetMode("f", 02755);
         const As as(kAlice);
         result.Try(
             "set",
             Set("f", kAccessAcl,
                 Acl({{kUserObj, 7}, {kUser, 6, 1002}, {kGroupObj, 5}, {kMask, 7}, {kOther, 5}})));
         result.Note("mode", ModeOf("f"));
       }});
  cases.push_back(
      {"acl/access/malformed", [](Result& result) {
         MakeFile("f", "text");
         result.Try("empty", Set("f", kAccessAcl, ""));
         result.Try("short", Set("f", kAccessAcl, "\2"));
         result.Try("version",
                    Set("f", kAccessAcl, Acl({{kUserObj, 6}, {kGroupObj, 4}, {kOther, 0}}, 1)));
         result.Try("no_other", Set("f", kAccessAcl, Acl({{kUserObj, 6}, {kGroupObj, 4}})));
         result.Try("no_mask",
                    Set("f", kAccessAcl,
                        Acl({{kUserObj, 6}, {kUser, 6, 1001}, {kGroupObj, 4}, {kOther, 0}})));
         result.Try("unknown_tag", Set("f", kAccessAcl,
                                       Acl({{kUserObj, 6}, {64, 1}, {kGroupObj, 4}, {kOther, 0}})));
         result.Note("mode", ModeOf("f"));
       }});
  cases.push_back({"acl/default/only_directories", [](Result& result) {
                     MakeKinds();
                     const std::string acl = Acl({{kUserObj, 7}, {kGroupObj, 5}, {kOther, 0}});
                     for (const char* const kind : kKinds) {
                       result.Try(kind, lsetxattr(kind, kDefaultAcl, acl.data(), acl.size(), 0));
                     }
                     result.Note("acl", Get("dir", kDefaultAcl));
                   }});
  struct Default {
    const char* name;
    std::vector<Entry> entries;
  };
  static const std::vector<Default> defaults = {
      {"minimal", {{kUserObj, 7}, {kGroupObj, 5}, {kOther, 0}}},
      {"closed", {{kUserObj, 7}, {kGroupObj, 0}, {kOther, 0}}},
      {"named_user", {{kUserObj, 7}, {kUser, 7, 1002}, {kGroupObj, 5}, {kMask, 7}, {kOther, 5}}},
      {"narrow_mask", {{kUserObj, 7}, {kUser, 7, 1002}, {kGroupObj, 7}, {kMask, 4}, {kOther, 1}}}};
  for (const Default& which : defaults) {
    for (const mode_t mode : {0666u, 0600u, 0777u, 0444u}) {
      for (const User* const user : {&kRoot, &kAlice}) {
        cases.push_back(
            {std::string("acl/default/") + which.name + "/" + Octal(mode) + "/by_" + user->name,
             [&which, mode, user](Result& result) {
               MakeDirectory("d", 0777);
               result.Try("set", Set("d", kDefaultAcl, Acl(which.entries)));
               umask(077);  // has no say where there is a default ACL
               {
                 const As as(*user);
                 Fd(static_cast<int>(result.Try("open", open("d/f", O_CREAT | O_WRONLY, mode))));
                 result.Try("mkdir", mkdir("d/d", mode));
                 result.Try("mkfifo", mkfifo("d/p", mode));
                 result.Try("mknod", mknod("d/n", S_IFREG | mode, 0));
                 result.Try("symlink", symlink("to", "d/l"));
               }
               for (const char* const path : {"d/f", "d/d", "d/p", "d/n"}) {
                 result.Note("acl", Get(path, kAccessAcl));
               }
               result.Note("inherited", Get("d/d", kDefaultAcl));
             }});
      }
    }
  }
}

}  // namespace

void AddXattrCases(Cases& cases) {
  AddAttributes(cases);
  AddAcls(cases);
}

}  // namespace posix_cases
