// A read-only mount: one row per operation, what it answers, and that nothing has changed.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>

#include <string>

#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::Terminated;

class ReadonlyTest : public ::testing::Test {
 protected:
  ReadonlyTest() {
    world_.tree.Mkdir("d");
    world_.tree.Write("f", "text");
    before_ = world_.tree.StrictSnapshot();
    world_.Restart({.readonly = true, .xattr = true, .posix_locks = true});
  }
  ~ReadonlyTest() override { EXPECT_EQ(world_.tree.StrictSnapshot(), before_); }

  FuseClient& client() { return *world_.client; }
  int Create(absl::string_view name, uint32_t flags) {
    const CreateIn in = {.flags = flags, .mode = S_IFREG | 0644, .umask = 0, .open_flags = 0};
    return client().Call(Opcode::kCreate, NodeId::kRoot, Bytes(in) + Terminated(name)).error;
  }
  int Open(uint32_t flags) {
    return client()
        .Call(Opcode::kOpen, client().Walk("f"), Bytes(OpenIn{.flags = flags, .open_flags = 0}))
        .error;
  }

  FuseWorld world_;
  std::map<std::string, std::string> before_;
};

TEST_F(ReadonlyTest, WritersAreRefused) {
  const NodeId f = client().Walk("f");
  const NodeId root = NodeId::kRoot;
  const HandleId fh = client().Open(f, O_RDONLY);
  const std::string names = Terminated("f") + Terminated("g");
  WriteIn write = {};
  write.fh = fh;
  FallocateIn fallocate = {};
  fallocate.fh = fh;
  CopyFileRangeIn copy = {};
  copy.fh_in = copy.fh_out = fh;
  copy.nodeid_out = f;
  const struct {
    Opcode opcode;
    NodeId node;
    std::string args;
  } kRows[] = {
      {Opcode::kSymlink, root, names},
      {Opcode::kMknod, root, Bytes(MknodIn{}) + Terminated("n")},
      {Opcode::kMkdir, root, Bytes(MkdirIn{}) + Terminated("n")},
      {Opcode::kUnlink, root, Terminated("f")},
      {Opcode::kRmdir, root, Terminated("d")},
      {Opcode::kRename, root, Bytes(RenameIn{root}) + names},
      {Opcode::kRename2, root,
       Bytes(Rename2In{.newdir = root, .flags = RENAME_NOREPLACE, .padding = 0}) + names},
      {Opcode::kLink, root, Bytes(LinkIn{f}) + Terminated("n")},
      {Opcode::kWrite, f, Bytes(write)},
      {Opcode::kFallocate, f, Bytes(fallocate)},
      {Opcode::kCopyFileRange, f, Bytes(copy)},
      {Opcode::kTmpfile, root, Bytes(CreateIn{}) + Terminated("/")},
      {Opcode::kSetxattr, f, Bytes(SetxattrIn{}) + Terminated("user.k")},
      {Opcode::kRemovexattr, f, Terminated("user.k")},
  };
  for (const auto& row : kRows) {
    EXPECT_EQ(client().Call(row.opcode, row.node, row.args).error, EROFS) << OpcodeName(row.opcode);
    EXPECT_EQ(client().Call(row.opcode, row.node, "").error, EROFS)
        << OpcodeName(row.opcode) << ": before it is decoded";
  }
}

TEST_F(ReadonlyTest, OpeningByItsFlags) {
  EXPECT_EQ(Open(O_RDONLY), 0);
  EXPECT_EQ(Open(O_RDONLY | O_CREAT), 0);
  EXPECT_EQ(Open(O_WRONLY), EROFS);
  EXPECT_EQ(Open(O_RDWR), EROFS);
  EXPECT_EQ(Open(O_RDONLY | O_TRUNC), EROFS);
  EXPECT_EQ(Open(O_RDONLY | O_TMPFILE), EINVAL);
  EXPECT_EQ(client().Call(Opcode::kOpendir, NodeId::kRoot, Bytes(OpenIn{})).error, 0);
}

// What is there is told first, as OpenVMM does it.
TEST_F(ReadonlyTest, CreatingByWhatIsThere) {
  EXPECT_EQ(Create("missing", O_RDWR), EROFS);
  EXPECT_EQ(Create("missing", O_RDONLY), EROFS);
  EXPECT_EQ(Create("f", O_RDWR | O_EXCL), EEXIST);
  EXPECT_EQ(Create("f", O_RDONLY | O_EXCL), EEXIST);
  EXPECT_EQ(Create("f", O_RDWR), EROFS);
  EXPECT_EQ(Create("f", O_RDONLY | O_TRUNC), EROFS);
  EXPECT_EQ(Create("f", O_RDONLY), 0);
  EXPECT_EQ(Create("a/b", O_RDONLY), EINVAL);
  EXPECT_EQ(Create(std::string(300, 'x'), O_RDONLY), ENAMETOOLONG);
  EXPECT_EQ(world_.session->connection()->nodes().lookups(), 1u) << "what fails leaves no count";
}

TEST_F(ReadonlyTest, SettingNothingIsAllowed) {
  const NodeId f = client().Walk("f");
  const HandleId fh = client().Open(f, O_RDONLY);
  SetattrIn in = {};
  in.fh = fh;
  for (const uint32_t valid : {0u, setattr::kFh, setattr::kLockOwner}) {
    in.valid = valid;
    EXPECT_EQ(client().Setattr(f, in).error, 0);
  }
  for (uint32_t bit = 0; bit < 32; ++bit) {
    in.valid = 1u << bit;
    if ((in.valid & (setattr::kFh | setattr::kLockOwner)) != 0) continue;
    EXPECT_EQ(client().Setattr(f, in).error, EROFS) << bit;
  }
  in.valid = setattr::kFh | setattr::kMode;
  in.fh = HandleId{4};
  EXPECT_EQ(client().Setattr(f, in).error, EBADF) << "the handle is looked at first";
}

TEST_F(ReadonlyTest, ReadersGoOn) {
  const NodeId f = client().Walk("f");
  const HandleId fh = client().Open(f, O_RDONLY);
  EXPECT_EQ(client().Read(f, fh, 0, 10).body, "text");
  const GetxattrIn get = {.size = 10, .padding = 0};
  EXPECT_EQ(client().Call(Opcode::kGetxattr, f, Bytes(get) + Terminated("user.k")).error, ENODATA);
  EXPECT_EQ(client().Call(Opcode::kListxattr, f, Bytes(get)).error, 0);
  EXPECT_EQ(client().Call(Opcode::kStatfs, f, "").error, 0);
  EXPECT_EQ(client().Call(Opcode::kSyncfs, NodeId::kRoot, Bytes(SyncfsIn{})).error, 0);
  const FsyncIn sync = {.fh = fh, .fsync_flags = 0, .padding = 0};
  EXPECT_EQ(client().Call(Opcode::kFsync, f, Bytes(sync)).error, 0);
  LkIn lock = {};
  lock.fh = fh;
  lock.lk = {.start = 0, .end = 1, .type = F_RDLCK, .pid = 0};
  EXPECT_EQ(client().Call(Opcode::kSetlk, f, Bytes(lock)).error, 0);
  const auto access = [&](uint32_t mask) {
    return client().Call(Opcode::kAccess, f, Bytes(AccessIn{.mask = mask, .padding = 0})).error;
  };
  EXPECT_EQ(access(R_OK), 0);
  EXPECT_EQ(access(W_OK), EROFS);
}

}  // namespace
}  // namespace gofer::fuse
