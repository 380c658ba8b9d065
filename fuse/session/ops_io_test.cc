// READ, WRITE, FSYNC, FALLOCATE, LSEEK, COPY_FILE_RANGE, SYNCFS, IOCTL.

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/stat.h>
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

class OpsIoTest : public ::testing::Test {
 protected:
  OpsIoTest() { world_.Restart({}); }
  FuseClient& client() { return *world_.client; }

  FuseWorld world_;
};

TEST_F(OpsIoTest, ReadsToTheEndWhateverTheSize) {
  std::string text(300000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 23);
  world_.tree.Write("f", text);
  const NodeId node = client().Walk("f");
  const HandleId fh = client().Open(node, O_RDONLY);
  for (const size_t cut : {0, 4096, 100}) {
    client().cut = cut;
    EXPECT_EQ(client().Read(node, fh, 0, kMaxData).body, text);
    EXPECT_EQ(client().Read(node, fh, 299990, 4096).body, text.substr(299990));
    EXPECT_EQ(client().Read(node, fh, 17, 250000).body, text.substr(17, 250000));
    EXPECT_EQ(client().Read(node, fh, 300000, 4096).body, "");
    EXPECT_EQ(client().Read(node, fh, 1 << 30, 4096).body, "");
    EXPECT_EQ(client().Read(node, fh, 0, 0).body, "");
  }
}

TEST_F(OpsIoTest, WhatCannotBeRead) {
  world_.tree.Write("f", "text");
  const NodeId node = client().Walk("f");
  const HandleId fh = client().Open(node, O_RDONLY);
  EXPECT_EQ(client().Read(node, fh, 0, kMaxData + 1).error, ENOMEM);
  EXPECT_EQ(client().Read(node, fh, 0, UINT32_MAX).error, ENOMEM);
  for (const uint64_t offset : {uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 3}) {
    EXPECT_EQ(client().Read(node, fh, offset, 10).error, EINVAL) << offset;
  }
  EXPECT_EQ(client().Read(node, client().Open(node, O_WRONLY), 0, 10).error, EBADF);
  EXPECT_EQ(client().Read(NodeId::kRoot, fh, 0, 10).error, EBADF);
  EXPECT_EQ(client().Read(node, HandleId::kNone, 0, 10).error, EBADF);
  const HandleId dir = client().Opendir(NodeId::kRoot);
  EXPECT_EQ(client().Read(NodeId::kRoot, dir, 0, 10).error, EISDIR);
  // The client's own limit is what it has made room for.
  client().room = 100;
  EXPECT_EQ(client().Read(node, fh, 0, 85).error, ENOMEM);
  EXPECT_EQ(client().Read(node, fh, 0, 84).body, "text");
}

TEST_F(OpsIoTest, WritesWhereAndAsMuchAsAsked) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  const NodeId node = made.entry.nodeid;
  EXPECT_EQ(client().Write(node, made.open.fh, 3, "abc").As<WriteOut>().size, 3u);
  EXPECT_EQ(world_.tree.Read("f"), std::string("\0\0\0abc", 6));
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kDone);
  const std::string much(1 << 20, 'x');
  EXPECT_EQ(client().Write(node, made.open.fh, 0, much).As<WriteOut>().size, 1u << 20);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock) << "much is a worker's job";
  EXPECT_EQ(world_.tree.Read("f"), much);
  EXPECT_EQ(client().Write(node, made.open.fh, 0, "").As<WriteOut>().size, 0u);
}

TEST_F(OpsIoTest, TheSizeOfAWriteMustBeTrue) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  WriteIn in = {};
  in.fh = made.open.fh;
  for (const uint32_t size : {5u, kMaxData, kMaxData + 1, UINT32_MAX}) {
    in.size = size;
    EXPECT_EQ(client().Call(Opcode::kWrite, made.entry.nodeid, Bytes(in) + "text").error, EINVAL);
  }
  in.size = 2;
  EXPECT_EQ(client().Call(Opcode::kWrite, made.entry.nodeid, Bytes(in) + "text").error, 0);
  EXPECT_EQ(world_.tree.Read("f"), "te");
  for (const uint64_t offset : {uint64_t{1} << 63, UINT64_MAX}) {
    EXPECT_EQ(client().Write(made.entry.nodeid, made.open.fh, offset, "x").error, EINVAL);
  }
  world_.tree.Write("r", "text");
  const NodeId readonly = client().Walk("r");
  EXPECT_EQ(client().Write(readonly, client().Open(readonly, O_RDONLY), 0, "x").error, EBADF);
}

TEST_F(OpsIoTest, AppendsWhereTheEndIsUnlessTheClientHasPlacedIt) {
  world_.tree.Write("f", "0123456789");
  const NodeId node = client().Walk("f");
  const HandleId fh = client().Open(node, O_WRONLY | O_APPEND);
  EXPECT_EQ(client().Write(node, fh, 3, "end", O_APPEND | O_WRONLY).error, 0);
  EXPECT_EQ(world_.tree.Read("f"), "0123456789end");
  EXPECT_EQ(client().Write(node, fh, 0, "x", O_APPEND | O_WRONLY, kWriteCache).error, 0);
  EXPECT_EQ(world_.tree.Read("f"), "x123456789end");
  EXPECT_EQ(client().Write(node, fh, 1, "y").error, 0) << "no longer its flag";
  EXPECT_EQ(world_.tree.Read("f"), "xy23456789end");
}

TEST_F(OpsIoTest, WritesDropSetIdBitsWhenTheClientSaysSo) {
  for (const uint32_t flags : {0u, kWriteKillSuidgid}) {
    world_.tree.Write("f", "text");
    ASSERT_EQ(chmod(world_.tree.At("f").c_str(), 06755), 0);
    const NodeId node = client().Walk("f");
    EXPECT_EQ(client().Write(node, client().Open(node, O_WRONLY), 0, "x", 0, flags).error, 0);
    EXPECT_EQ(world_.tree.Stat("f").st_mode & 07777, flags != 0 ? 0755u : 06755u);
  }
}

TEST_F(OpsIoTest, SyncingIsAWorkersJob) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  for (const uint32_t flags : {0u, kFsyncFdatasync}) {
    const FsyncIn in = {.fh = made.open.fh, .fsync_flags = flags, .padding = 0};
    EXPECT_EQ(client().Call(Opcode::kFsync, made.entry.nodeid, Bytes(in)).error, 0);
    EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock);
  }
  const FsyncIn dir = {.fh = client().Opendir(NodeId::kRoot), .fsync_flags = 0, .padding = 0};
  EXPECT_EQ(client().Call(Opcode::kFsyncdir, NodeId::kRoot, Bytes(dir)).error, 0);
  EXPECT_EQ(client().Call(Opcode::kSyncfs, NodeId::kRoot, Bytes(SyncfsIn{})).error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock);
  const CreateOut sync = client().Create(NodeId::kRoot, "s", O_RDWR | O_DSYNC);
  EXPECT_EQ(client().Write(sync.entry.nodeid, sync.open.fh, 0, "x").error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock);
}

TEST_F(OpsIoTest, Fallocate) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  const auto allocate = [&](uint32_t mode, uint64_t offset, uint64_t length) {
    const FallocateIn in = {
        .fh = made.open.fh, .offset = offset, .length = length, .mode = mode, .padding = 0};
    return client().Call(Opcode::kFallocate, made.entry.nodeid, Bytes(in)).error;
  };
  EXPECT_EQ(allocate(0, 0, 8192), 0);
  EXPECT_EQ(world_.tree.Stat("f").st_size, 8192);
  EXPECT_EQ(allocate(FALLOC_FL_KEEP_SIZE, 0, 1 << 16), 0);
  EXPECT_EQ(world_.tree.Stat("f").st_size, 8192);
  EXPECT_EQ(allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), 0);
  EXPECT_EQ(allocate(0x4000, 0, 10), EOPNOTSUPP);
  EXPECT_EQ(allocate(0, 0, 0), EINVAL);
  EXPECT_EQ(allocate(0, UINT64_MAX, 1), EINVAL);
  EXPECT_EQ(allocate(0, 1, INT64_MAX), EFBIG);
}

TEST_F(OpsIoTest, Lseek) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  client().Write(made.entry.nodeid, made.open.fh, 1 << 20, "data");
  const auto seek = [&](uint64_t offset, uint32_t whence) {
    const LseekIn in = {.fh = made.open.fh, .offset = offset, .whence = whence, .padding = 0};
    return client().Call(Opcode::kLseek, made.entry.nodeid, Bytes(in));
  };
  EXPECT_EQ(seek(0, SEEK_DATA).As<LseekOut>().offset, 1u << 20);
  EXPECT_EQ(seek(1 << 20, SEEK_HOLE).As<LseekOut>().offset, (1u << 20) + 4);
  EXPECT_EQ(seek(2 << 20, SEEK_DATA).error, ENXIO);
  EXPECT_EQ(seek(0, 99).error, EINVAL);
  EXPECT_EQ(seek(0, UINT32_MAX).error, EINVAL);
  const LseekIn dir = {
      .fh = client().Opendir(NodeId::kRoot), .offset = 0, .whence = SEEK_SET, .padding = 0};
  EXPECT_EQ(client().Call(Opcode::kLseek, NodeId::kRoot, Bytes(dir)).error, EINVAL);
}

TEST_F(OpsIoTest, CopiesBetweenFiles) {
  world_.tree.Write("from", "0123456789");
  const NodeId from = client().Walk("from");
  const CreateOut to = client().Create(NodeId::kRoot, "to", O_RDWR);
  CopyFileRangeIn in = {};
  in.fh_in = client().Open(from, O_RDONLY);
  in.off_in = 2;
  in.nodeid_out = to.entry.nodeid;
  in.fh_out = to.open.fh;
  in.off_out = 1;
  in.len = 0xfffff000;
  const FuseReply reply = client().Call(Opcode::kCopyFileRange, from, Bytes(in));
  EXPECT_EQ(reply.error, 0);
  EXPECT_EQ(reply.As<WriteOut>().size, 8u);
  EXPECT_EQ(world_.tree.Read("to"), std::string(1, '\0') + "23456789");
  in.flags = 1;
  EXPECT_EQ(client().Call(Opcode::kCopyFileRange, from, Bytes(in)).error, EINVAL);
  in.flags = 0;
  in.nodeid_out = from;
  EXPECT_EQ(client().Call(Opcode::kCopyFileRange, from, Bytes(in)).error, EBADF);
}

TEST_F(OpsIoTest, IoctlKnowsInodeFlagsAndNothingElse) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  const auto ioctl = [&](uint32_t cmd, const std::string& data, uint32_t out_size,
                         uint32_t flags = 0) {
    const IoctlIn in = {.fh = made.open.fh,
                        .flags = flags,
                        .cmd = cmd,
                        .arg = 0,
                        .in_size = static_cast<uint32_t>(data.size()),
                        .out_size = out_size};
    return client().Call(Opcode::kIoctl, made.entry.nodeid, Bytes(in) + data);
  };
  const FuseReply got = ioctl(FS_IOC_GETFLAGS, "", 4);
  if (got.error != ENOTTY) {  // some file systems have none
    ASSERT_EQ(got.error, 0);
    ASSERT_EQ(got.body.size(), sizeof(IoctlOut) + 4);
    uint32_t flags = 0;
    memcpy(&flags, got.body.data() + sizeof(IoctlOut), sizeof(flags));
    EXPECT_EQ(ioctl(FS_IOC_SETFLAGS, Bytes(flags | FS_NODUMP_FL), 0).error, 0);
    EXPECT_EQ(ioctl(FS_IOC_GETFLAGS, "", 4).body.substr(sizeof(IoctlOut)),
              Bytes(flags | FS_NODUMP_FL));
    client().uid = 5;
    EXPECT_EQ(ioctl(FS_IOC_SETFLAGS, Bytes(flags | FS_IMMUTABLE_FL), 0).error, EPERM);
    client().uid = 0;
    EXPECT_EQ(ioctl(FS_IOC_SETFLAGS, Bytes(flags | FS_JOURNAL_DATA_FL), 0).error, EOPNOTSUPP);
    EXPECT_EQ(ioctl(FS_IOC_GETFLAGS, "", 3).error, EINVAL);
    EXPECT_EQ(ioctl(FS_IOC_SETFLAGS, "123", 0).error, EINVAL);
  }
  EXPECT_EQ(ioctl(FIFREEZE, "", 0).error, ENOTTY);
  EXPECT_EQ(ioctl(0, "", 0).error, ENOTTY);
  EXPECT_EQ(ioctl(FS_IOC_GETFLAGS, "", 4, kIoctlUnrestricted).error, ENOTTY);
}

}  // namespace
}  // namespace gofer::fuse
