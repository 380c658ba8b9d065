// SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <functional>

#include <set>
#include <string>

#include "absl/strings/str_split.h"
#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::Terminated;

class OpsXattrTest : public ::testing::Test {
 protected:
  OpsXattrTest() {
    world_.tree.Write("f", "text");
    Restart({.xattr = true});
  }
  void Restart(const SessionOptions& options) {
    ext_ = options.posix_acl;
    world_.Restart(options);
    node_ = world_.client->Walk("f");
  }
  FuseClient& client() { return *world_.client; }
  int Set(absl::string_view name, absl::string_view value, uint32_t flags = 0,
          uint32_t set_flags = 0) {
    std::string args =
        Bytes(SetxattrIn{.size = static_cast<uint32_t>(value.size()), .flags = flags});
    if (ext_) args += Bytes(SetxattrExtIn{.setxattr_flags = set_flags, .padding = 0});
    return client()
        .Call(Opcode::kSetxattr, node_, args + Terminated(name) + std::string(value))
        .error;
  }
  FuseReply Get(absl::string_view name, uint32_t size) {
    return client().Call(Opcode::kGetxattr, node_,
                         Bytes(GetxattrIn{.size = size, .padding = 0}) + Terminated(name));
  }
  FuseReply List(uint32_t size) {
    return client().Call(Opcode::kListxattr, node_, Bytes(GetxattrIn{.size = size, .padding = 0}));
  }
  std::set<std::string> Names() {
    return absl::StrSplit(List(65536).body, '\0', absl::SkipEmpty());
  }
  int Remove(absl::string_view name) {
    return client().Call(Opcode::kRemovexattr, node_, Terminated(name)).error;
  }

  FuseWorld world_;
  NodeId node_ = NodeId::kNone;
  bool ext_ = false;
};

TEST_F(OpsXattrTest, OffTheyAreNotThere) {
  Restart({});
  EXPECT_EQ(Set("user.k", "v"), ENOSYS);
  EXPECT_EQ(Get("user.k", 10).error, ENOSYS);
  EXPECT_EQ(List(10).error, ENOSYS);
  EXPECT_EQ(Remove("user.k"), ENOSYS);
}

TEST_F(OpsXattrTest, SetGetListRemove) {
  EXPECT_EQ(Set("user.k", "value"), 0);
  EXPECT_EQ(Get("user.k", 0).As<GetxattrOut>().size, 5u);
  EXPECT_EQ(Get("user.k", 5).body, "value");
  EXPECT_EQ(Get("user.k", 65536).body, "value");
  EXPECT_EQ(Get("user.k", 4).error, ERANGE);
  EXPECT_EQ(Get("user.none", 4).error, ENODATA);
  EXPECT_EQ(Set("user.k", "x", XATTR_CREATE), EEXIST);
  EXPECT_EQ(Set("user.none", "x", XATTR_REPLACE), ENODATA);
  EXPECT_EQ(Set("user.k", "x", 4), EINVAL);
  EXPECT_EQ(Set("user.empty", ""), 0);
  EXPECT_EQ(Get("user.empty", 10).body, "");
  EXPECT_EQ(Names(), (std::set<std::string>{"user.k", "user.empty"}));
  EXPECT_EQ(List(0).As<GetxattrOut>().size, List(65536).body.size());
  EXPECT_EQ(List(3).error, ERANGE);
  EXPECT_EQ(Remove("user.k"), 0);
  EXPECT_EQ(Remove("user.k"), ENODATA);
}

TEST_F(OpsXattrTest, LimitsAreTheKernels) {
  const std::string largest(65536, 'v');
  EXPECT_EQ(Set("user.k", largest + "v"), E2BIG);
  const int error = Set("user.k", largest);
  EXPECT_TRUE(error == 0 || error == ENOSPC || error == E2BIG) << error;
  EXPECT_EQ(Get("user.k", kMaxData + 1).error, ENOMEM);
  EXPECT_EQ(List(kMaxData + 1).error, ENOMEM);
  EXPECT_EQ(Get("", 10).error, ERANGE);
  EXPECT_EQ(Get("user." + std::string(251, 'n'), 10).error, ERANGE);
  EXPECT_EQ(Set(std::string(2000, 'n'), "x"), ERANGE);
  EXPECT_EQ(Remove(std::string(2000, 'n')), ERANGE);
}

TEST_F(OpsXattrTest, AFileThatMayNotBeReadHasThemToo) {
  ASSERT_EQ(chmod(world_.tree.At("f").c_str(), 0), 0);
  EXPECT_EQ(Set("user.k", "v"), 0);
  EXPECT_EQ(Get("user.k", 10).body, "v");
}

TEST_F(OpsXattrTest, AclsAreHiddenByTheirExactNamesUnlessAskedFor) {
  for (const char* name : {"system.posix_acl_access", "system.posix_acl_default"}) {
    EXPECT_EQ(Set(name, "x"), EOPNOTSUPP);
    EXPECT_EQ(Get(name, 10).error, EOPNOTSUPP);
    EXPECT_EQ(Remove(name), EOPNOTSUPP);
  }
  for (const char* name : {"s", "system.", "system.posix_acl"}) {
    EXPECT_EQ(Get(name, 10).error, EOPNOTSUPP) << "the host says so";
  }
  // user::rw- user:5:rw- group::r-- mask::rw- other::---
  const std::string acl(
      "\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\6\0\5\0\0\0\4\0\4\0\xff\xff\xff\xff"
      "\x10\0\6\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
      44);
  if (setxattr(world_.tree.At("f").c_str(), "system.posix_acl_access", acl.data(), acl.size(), 0) !=
      0) {
    GTEST_SKIP() << "this file system has no ACLs";
  }
  EXPECT_EQ(Names(), std::set<std::string>());
  Restart({.posix_acl = true});
  EXPECT_EQ(Get("system.posix_acl_access", 100).body, acl);
  EXPECT_EQ(Names(), std::set<std::string>({"system.posix_acl_access"}));
  ASSERT_EQ(chmod(world_.tree.At("f").c_str(), 02770), 0);
  EXPECT_EQ(Set("system.posix_acl_access", acl), 0);
  EXPECT_NE(world_.tree.Stat("f").st_mode & S_ISGID, 0u);
  EXPECT_EQ(Set("system.posix_acl_access", acl, 0, kSetxattrAclKillSgid), 0);
  EXPECT_EQ(world_.tree.Stat("f").st_mode & S_ISGID, 0u);
}

// Kept under another name an ACL would mean nothing, and whoever has set it would not know.
TEST_F(OpsXattrTest, AclsAreHiddenByTheClientsNameToo) {
  ASSERT_EQ(setxattr(world_.tree.At("f").c_str(), "user.vm.system.posix_acl_access", "x", 1, 0), 0);
  SessionOptions options;
  options.xattr_map = *XattrMap::Parse(":map::user.vm.:");
  Restart(options);
  EXPECT_EQ(Set("system.posix_acl_access", "x"), EOPNOTSUPP);
  EXPECT_EQ(Get("system.posix_acl_access", 10).error, EOPNOTSUPP);
  EXPECT_EQ(Remove("system.posix_acl_access"), EOPNOTSUPP);
  EXPECT_EQ(Names(), std::set<std::string>());
}

TEST_F(OpsXattrTest, NamesAreMapped) {
  SessionOptions options;
  options.xattr_map = *XattrMap::Parse(":map:trusted.:user.vm.:");
  Restart(options);
  EXPECT_EQ(Set("trusted.k", "v"), 0);
  char value[10];
  EXPECT_EQ(getxattr(world_.tree.At("f").c_str(), "user.vm.trusted.k", value, sizeof(value)), 1);
  EXPECT_EQ(Get("trusted.k", 10).body, "v");
  EXPECT_EQ(Set("user.vm.x", "v"), EPERM);
  EXPECT_EQ(Get("user.vm.x", 10).error, ENODATA);
  EXPECT_EQ(Set("user.plain", "v"), 0);
  EXPECT_EQ(Names(), (std::set<std::string>{"trusted.k", "user.plain"}));
  EXPECT_EQ(List(0).As<GetxattrOut>().size, List(65536).body.size()) << "of what may be seen";
  EXPECT_EQ(Remove("trusted.k"), 0);
  EXPECT_EQ(Names(), std::set<std::string>({"user.plain"}));
}

// The host drops file capabilities by their own name only.
TEST_F(OpsXattrTest, MappedCapabilitiesGoWithEachChange) {
  SessionOptions options;
  options.xattr_map = *XattrMap::Parse(":map::user.vm.:");
  Restart(options);
  const auto expect_dropped = [&](const char* what, const std::function<void()>& change) {
    EXPECT_EQ(Set("security.capability", "caps"), 0);
    EXPECT_EQ(Get("security.capability", 10).body, "caps");
    change();
    EXPECT_EQ(Get("security.capability", 10).error, ENODATA) << what;
  };
  const HandleId fh = client().Open(node_, O_RDWR);
  expect_dropped("WRITE", [&] { client().Write(node_, fh, 0, "x"); });
  expect_dropped("OPEN with O_TRUNC", [&] { client().Open(node_, O_WRONLY | O_TRUNC); });
  SetattrIn in = {};
  in.valid = setattr::kSize;
  expect_dropped("truncate", [&] { client().Setattr(node_, in); });
  in.valid = setattr::kUid;
  expect_dropped("chown", [&] { client().Setattr(node_, in); });
  EXPECT_EQ(Set("security.capability", "caps"), 0);
  EXPECT_EQ(Set("user.other", "v"), 0);
  EXPECT_EQ(Get("security.capability", 10).body, "caps") << "another attribute is no change";
}

TEST_F(OpsXattrTest, OfTypesThatAreNotOpened) {
  world_.tree.Symlink("ln", "f");
  node_ = client().Walk("ln");
  EXPECT_EQ(Set("user.k", "v"), EPERM) << "the kernel's word on symlinks";
  EXPECT_EQ(List(100).body, "");
  world_.tree.Fifo("p");
  node_ = client().Walk("p");
  EXPECT_EQ(Set("user.k", "v"), EPERM);
}

}  // namespace
}  // namespace gofer::fuse
