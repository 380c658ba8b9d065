// GETATTR, STATX, SETATTR, ACCESS, STATFS.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <string>

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

class OpsAttrTest : public ::testing::Test {
 protected:
  OpsAttrTest() { world_.Restart({}); }
  FuseClient& client() { return *world_.client; }
  static SetattrIn Set(uint32_t valid) {
    SetattrIn in = {};
    in.valid = valid;
    return in;
  }

  FuseWorld world_;
};

TEST_F(OpsAttrTest, ByHandleWhateverHasBecomeOfTheName) {
  world_.tree.Write("f", "text");
  const NodeId node = client().Walk("f");
  const HandleId fh = client().Open(node, O_RDONLY);
  const GetattrIn by_handle = {.getattr_flags = kGetattrFh, .dummy = 0, .fh = fh};
  EXPECT_EQ(client().Call(Opcode::kGetattr, node, Bytes(by_handle)).As<AttrOut>().attr.size, 4u);
  EXPECT_EQ(client().Call(Opcode::kGetattr, NodeId::kRoot, Bytes(by_handle)).error, EBADF);
  const GetattrIn forged = {.getattr_flags = kGetattrFh, .dummy = 0, .fh = HandleId{99}};
  EXPECT_EQ(client().Call(Opcode::kGetattr, node, Bytes(forged)).error, EBADF);
  ASSERT_EQ(client().Call(Opcode::kUnlink, NodeId::kRoot, Terminated("f")).error, 0);
  EXPECT_EQ(client().Call(Opcode::kGetattr, node, Bytes(by_handle)).As<AttrOut>().attr.nlink, 0u);
  EXPECT_EQ(client().Getattr(node).As<AttrOut>().attr.nlink, 0u);
}

TEST_F(OpsAttrTest, StatxHasTheBirthTime) {
  world_.tree.Write("f", "text");
  const NodeId node = client().Walk("f");
  StatxIn in = {};
  in.sx_mask = STATX_BASIC_STATS | STATX_BTIME;
  const FuseReply reply = client().Call(Opcode::kStatx, node, Bytes(in));
  ASSERT_EQ(reply.error, 0);
  const StatxOut out = reply.As<StatxOut>();
  EXPECT_EQ(out.attr_valid, 1u);
  EXPECT_EQ(out.stat.mask & STATX_BASIC_STATS, uint32_t{STATX_BASIC_STATS});
  EXPECT_EQ(out.stat.size, 4u);
  EXPECT_EQ(out.stat.mode, S_IFREG | 0644);
  EXPECT_EQ(out.stat.ino, world_.tree.Stat("f").st_ino);
  const bool has_btime = (out.stat.mask & STATX_BTIME) != 0;
  EXPECT_EQ(out.stat.btime.tv_sec > 0, has_btime);
  EXPECT_EQ(out.stat.attributes & STATX_ATTR_MOUNT_ROOT, 0u);
}

TEST_F(OpsAttrTest, SetsEachPartByNodeAndByHandle) {
  for (const bool by_handle : {false, true}) {
    const CreateOut made = client().Create(NodeId::kRoot, by_handle ? "h" : "n", O_RDWR, 0600);
    const std::string name = by_handle ? "h" : "n";
    const NodeId node = made.entry.nodeid;
    const auto apply = [&](SetattrIn in) {
      if (by_handle) {
        in.valid |= setattr::kFh;
        in.fh = made.open.fh;
      }
      const FuseReply reply = client().Setattr(node, in);
      EXPECT_EQ(reply.error, 0);
      return reply.As<AttrOut>().attr;
    };
    SetattrIn in = Set(setattr::kMode);
    in.mode = S_IFREG | 04751;
    EXPECT_EQ(apply(in).mode, S_IFREG | 04751u);
    in = Set(setattr::kUid);
    in.uid = 7;
    in.gid = 8;
    EXPECT_EQ(apply(in).uid, 7u);
    EXPECT_EQ(world_.tree.Stat(name).st_gid, 0u) << "not asked for";
    in.valid = setattr::kGid;
    EXPECT_EQ(apply(in).gid, 8u);
    in = Set(setattr::kSize);
    in.size = 100000;
    EXPECT_EQ(apply(in).size, 100000u);
    in.size = 3;
    EXPECT_EQ(apply(in).size, 3u);
    in = Set(setattr::kAtime | setattr::kMtime);
    in.atime = 11;
    in.atimensec = 12;
    in.mtime = static_cast<uint64_t>(-13);
    in.mtimensec = 999999999;
    Attr attr = apply(in);
    EXPECT_EQ(attr.atime, 11u);
    EXPECT_EQ(attr.atimensec, 12u);
    EXPECT_EQ(static_cast<int64_t>(attr.mtime), -13);
    EXPECT_EQ(attr.mtimensec, 999999999u);
    in = Set(setattr::kMtime | setattr::kMtimeNow);
    attr = apply(in);
    EXPECT_GT(attr.mtime, 1000000u);
    EXPECT_EQ(attr.atime, 11u);
    EXPECT_EQ(apply(Set(setattr::kCtime)).atime, 11u) << "cannot be set, and is no error";
    EXPECT_EQ(apply(Set(setattr::kLockOwner)).atime, 11u);
  }
}

TEST_F(OpsAttrTest, TimesThatAreNone) {
  world_.tree.Write("f", "");
  const NodeId node = client().Walk("f");
  for (const uint32_t nsec : {1000000000u, uint32_t{UTIME_NOW}, uint32_t{UTIME_OMIT}, UINT32_MAX}) {
    SetattrIn in = Set(setattr::kAtime);
    in.atimensec = nsec;
    EXPECT_EQ(client().Setattr(node, in).error, EINVAL) << nsec;
    in = Set(setattr::kMtime);
    in.mtimensec = nsec;
    EXPECT_EQ(client().Setattr(node, in).error, EINVAL) << nsec;
  }
}

TEST_F(OpsAttrTest, SymlinksOwnAttributes) {
  world_.tree.Write("f", "");
  world_.tree.Symlink("ln", "f");
  const NodeId node = client().Walk("ln");
  SetattrIn in = Set(setattr::kUid | setattr::kMtime);
  in.uid = 5;
  in.mtime = 77;
  EXPECT_EQ(client().Setattr(node, in).error, 0);
  EXPECT_EQ(world_.tree.Stat("ln").st_uid, 5u);
  EXPECT_EQ(world_.tree.Stat("ln").st_mtim.tv_sec, 77);
  EXPECT_EQ(world_.tree.Stat("f").st_uid, 0u);
  in = Set(setattr::kMode);
  EXPECT_EQ(client().Setattr(node, in).error, EOPNOTSUPP);
  in = Set(setattr::kSize);
  EXPECT_EQ(client().Setattr(node, in).error, EINVAL);
}

TEST_F(OpsAttrTest, SizesAndHandlesThatCannotBe) {
  world_.tree.Mkdir("d");
  world_.tree.Write("f", "text");
  const NodeId f = client().Walk("f");
  SetattrIn in = Set(setattr::kSize);
  EXPECT_EQ(client().Setattr(client().Walk("d"), in).error, EISDIR);
  for (const uint64_t size : {uint64_t{1} << 63, UINT64_MAX}) {
    in.size = size;
    EXPECT_EQ(client().Setattr(f, in).error, EINVAL);
  }
  in = Set(setattr::kSize | setattr::kFh);
  in.fh = client().Open(f, O_RDONLY);
  EXPECT_EQ(client().Setattr(f, in).error, EINVAL) << "as ftruncate(2) of a read-only file";
  in.fh = HandleId{1};
  EXPECT_EQ(client().Setattr(f, in).error, EBADF);
  EXPECT_EQ(world_.tree.Read("f"), "text");
}

TEST_F(OpsAttrTest, CuttingOffMuchIsAWorkersJob) {
  world_.tree.Write("f", "");
  ASSERT_EQ(truncate(world_.tree.At("f").c_str(), 1 << 30), 0);
  const NodeId node = client().Walk("f");
  SetattrIn in = Set(setattr::kSize);
  in.size = (1 << 30) - 4096;
  EXPECT_EQ(client().Setattr(node, in).error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kDone);
  in.size = 0;
  EXPECT_EQ(client().Setattr(node, in).error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock);
  EXPECT_EQ(world_.tree.Stat("f").st_size, 0);
}

TEST_F(OpsAttrTest, ForbiddenOwnersAreEPERMAndMinusOneIsNobody) {
  SessionOptions options;
  ASSERT_TRUE(options.uid_map.Add("forbid-guest:100:10").ok());
  ASSERT_TRUE(options.uid_map.Add("guest:200:300:1").ok());
  world_.Restart(options);
  world_.tree.Write("f", "");
  const NodeId node = client().Walk("f");
  SetattrIn in = Set(setattr::kUid);
  in.uid = 105;
  EXPECT_EQ(client().Setattr(node, in).error, EPERM);
  in.uid = 200;
  EXPECT_EQ(client().Setattr(node, in).error, 0);
  EXPECT_EQ(world_.tree.Stat("f").st_uid, 300u);
  in.uid = UINT32_MAX;
  EXPECT_EQ(client().Setattr(node, in).error, 0);
  EXPECT_EQ(world_.tree.Stat("f").st_uid, 300u) << "leaves it as it is";
}

// What the client asks for with KILL_SUIDGID; the rest is the host's own rule.
TEST_F(OpsAttrTest, TruncationDropsSetIdBitsWhenTheClientSaysSo) {
  world_.Restart({.killpriv_v2 = true});
  for (const bool kill : {false, true}) {
    world_.tree.Write("f", "text");
    ASSERT_EQ(chmod(world_.tree.At("f").c_str(), 06755), 0);
    SetattrIn in = Set(setattr::kSize | (kill ? setattr::kKillSuidgid : 0));
    in.size = 2;
    EXPECT_EQ(client().Setattr(client().Walk("f"), in).error, 0);
    EXPECT_EQ(world_.tree.Stat("f").st_mode & 07777, kill ? 0755u : 06755u);
  }
}

TEST_F(OpsAttrTest, Access) {
  world_.tree.Write("f", "", 0640);
  ASSERT_EQ(chown(world_.tree.At("f").c_str(), 5, 6), 0);
  const NodeId node = client().Walk("f");
  const auto access = [&](uint32_t uid, uint32_t gid, uint32_t mask) {
    client().uid = uid;
    client().gid = gid;
    return client().Call(Opcode::kAccess, node, Bytes(AccessIn{.mask = mask, .padding = 0})).error;
  };
  EXPECT_EQ(access(5, 0, R_OK | W_OK), 0);
  EXPECT_EQ(access(5, 0, X_OK), EACCES);
  EXPECT_EQ(access(7, 6, R_OK), 0);
  EXPECT_EQ(access(7, 6, W_OK), EACCES);
  EXPECT_EQ(access(7, 8, F_OK), 0);
  EXPECT_EQ(access(7, 8, R_OK), EACCES);
  EXPECT_EQ(access(0, 0, R_OK | W_OK), 0);
  EXPECT_EQ(access(0, 0, X_OK), EACCES) << "nobody may execute it";
  EXPECT_EQ(access(kNoClientId, kNoClientId, W_OK), 0) << "the client has checked";
  EXPECT_EQ(access(0, 0, 8), EINVAL);
}

TEST_F(OpsAttrTest, Statfs) {
  const FuseReply reply = client().Call(Opcode::kStatfs, NodeId::kRoot, "");
  ASSERT_EQ(reply.error, 0);
  const KStatfs out = reply.As<KStatfs>();
  struct statvfs host;
  ASSERT_EQ(statvfs(world_.tree.path().c_str(), &host), 0);
  EXPECT_EQ(out.blocks, host.f_blocks);
  EXPECT_EQ(out.bsize, host.f_bsize);
  EXPECT_EQ(out.frsize, host.f_frsize);
  EXPECT_EQ(out.namelen, host.f_namemax);
  EXPECT_EQ(out.files, host.f_files);
}

}  // namespace
}  // namespace gofer::fuse
