// Set-id bits, capabilities and owners over the life of a file: who writes to a program takes its
// privileges away, a new file is nobody's open door for a moment, and ids that are none are not
// made into others. Attacks.
//
// Source: spec/security.md s.2 and s.10; spec/fuse.md s.7 and s.10.

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "test/hostile/hostile_fuse.h"
#include "test/hostile/peer.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

constexpr uint32_t kClient = 1234;
constexpr char kCapability[] = "security.capability";

class FileModes : public PeerTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs to give files away";
    peer_ = Connect();
  }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }
  uint32_t ModeOf(const std::string& name) { return tree_.Stat("served/" + name).st_mode & 07777; }

  std::unique_ptr<Peer> peer_;
};

// A new file belongs to who asks for it, or to the directory's group; with the bits that were asked
// for.
TEST_P(FileModes, NewFiles) {
  peer_->uid = peer_->gid = kClient;
  for (const uint32_t mode : {0644u, 04755u, 02755u, 06711u, 01777u, 0u}) {
    const std::string name = absl::StrCat("f", mode);
    const Node made = Must(peer_->Create(peer_->root(), name, mode));
    EXPECT_EQ(made.mode & 07777, ModeOfNew(mode));
    EXPECT_EQ(ModeOf(name), ModeOfNew(mode));
    EXPECT_EQ(tree_.Stat("served/" + name).st_uid, kClient);
    EXPECT_EQ(tree_.Stat("served/" + name).st_gid, kClient);
  }
}

// A file of the process's own is at no moment one that others can write to or run as it: while its
// owner is not yet who it is to be, it is closed.
TEST_P(FileModes, NothingIsOpenWhileItIsMade) {
  const std::string path = tree_.At("served/made");
  std::atomic<bool> done{false};
  std::atomic<int> open_doors{0};
  std::atomic<int> seen{0};
  std::thread watcher([&] {
    while (!done) {
      const UniqueFd file(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      struct stat stat;
      if (!file.valid() || fstat(file.get(), &stat) != 0) continue;
      ++seen;
      if ((stat.st_mode & (S_ISUID | S_ISGID | 077)) == 0) continue;
      // The kernel may read the owner before the mode: asked again, it is the owner at that mode.
      if (fstat(file.get(), &stat) == 0 && stat.st_uid != kClient) ++open_doors;
    }
  });
  peer_->uid = peer_->gid = kClient;
  for (int i = 0; i < 500; ++i) {
    const Node made = Must(peer_->Create(peer_->root(), "made", 06777));
    peer_->Forget(made.id);
    Must(peer_->Unlink(peer_->root(), "made"));
  }
  done = true;
  watcher.join();
  EXPECT_GT(seen, 0);
  EXPECT_EQ(open_doors, 0);
}

// The group of a set-group-ID directory is the new file's. A guest's user that is not a member
// makes no program that runs as the group; what a sandbox's user may, the sentry has decided.
TEST_P(FileModes, SetGroupIdDirectory) {
  tree_.Mkdir("served/dir");
  ASSERT_EQ(chown(tree_.At("served/dir").c_str(), 0, 77), 0);
  ASSERT_EQ(chmod(tree_.At("served/dir").c_str(), 02777), 0);
  const Node dir = Must(peer_->Lookup(peer_->root(), "dir"));
  peer_->uid = peer_->gid = kClient;
  Must(peer_->Create(dir.id, "f", 02755));
  Must(peer_->Mkdir(dir.id, "sub", 0755));
  if (IsFuse()) {
    EXPECT_EQ(tree_.Stat("served/dir/f").st_gid, 77u);
    EXPECT_EQ(ModeOf("dir/f"), 0755u);
    EXPECT_EQ(tree_.Stat("served/dir/sub").st_gid, 77u);
    EXPECT_EQ(ModeOf("dir/sub"), 02755u);
  } else {
    EXPECT_EQ(tree_.Stat("served/dir/f").st_gid, kClient) << "as the sentry said";
  }
}

// "As it is" stays so, in each of the two alone.
TEST_P(FileModes, MinusOneIsNoId) {
  tree_.Write("served/file", "");
  ASSERT_EQ(chown(tree_.At("served/file").c_str(), 5, 6), 0);
  const Node node = Must(peer_->Lookup(peer_->root(), "file"));
  Must(peer_->SetOwner(node.id, UINT32_MAX, UINT32_MAX));
  EXPECT_EQ(tree_.Stat("served/file").st_uid, 5u);
  EXPECT_EQ(tree_.Stat("served/file").st_gid, 6u);
  Must(peer_->SetOwner(node.id, 7, UINT32_MAX));
  EXPECT_EQ(tree_.Stat("served/file").st_gid, 6u);
  Must(peer_->SetOwner(node.id, UINT32_MAX, 8));
  EXPECT_EQ(tree_.Stat("served/file").st_uid, 7u);
  EXPECT_EQ(tree_.Stat("served/file").st_gid, 8u);

  peer_->uid = UINT32_MAX;
  const ErrnoOr<Node> made = peer_->Create(peer_->root(), "made", 0644);
  if (IsFuse()) {
    EXPECT_EQ(ErrorOf(made), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->Mkdir(peer_->root(), "made", 0755)), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->Symlink(peer_->root(), "made", "x")), EINVAL);
    EXPECT_EQ(ErrorOf(peer_->Mknod(peer_->root(), "made", S_IFIFO | 0644, 0, 0)), EINVAL);
    EXPECT_FALSE(tree_.Exists("served/made"));
  } else {
    EXPECT_EQ(tree_.Stat("served/made").st_uid, geteuid()) << "of a sentry: nobody in particular";
  }
}

// A sandbox's sentry takes bits away by itself, and may keep them: the gofer does not meddle. What
// a guest's write does is below.
class FileModesOfASentry : public FileModes {};

TEST_P(FileModesOfASentry, AWriteChangesNoBits) {
  tree_.Write("served/program", "code");
  ASSERT_EQ(chmod(tree_.At("served/program").c_str(), 06755), 0);
  const Node node = Must(peer_->Lookup(peer_->root(), "program"));
  const Peer::File open = Must(peer_->Open(node, O_RDWR));
  Must(peer_->Write(open, 0, "evil"));
  EXPECT_EQ(ModeOf("program"), 06755u);
  Must(peer_->SetOwner(node.id, kClient, kClient));
  EXPECT_EQ(ModeOf("program") & S_ISUID, 0u) << "a new owner ends them, as for anybody";
  peer_->Close(open);
}

INSTANTIATE_OVER_EACH_WAY_IN(FileModes);
INSTANTIATE_TEST_SUITE_P(Over, FileModesOfASentry,
                         ::testing::Values(WayIn::kSocket, WayIn::kChannel), WayInName);

using fuse::HandleId;
using fuse::NodeId;
using fuse::Opcode;

class FileModesKillPriv : public fuse::HostileFuseTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs to set file capabilities";
  }
  // A program with all privileges there are, and of somebody else.
  NodeId Program() {
    world_.tree.Write("served/program", "code");
    const std::string path = world_.tree.At("served/program");
    EXPECT_EQ(chown(path.c_str(), 5, 6), 0);
    EXPECT_EQ(chmod(path.c_str(), 06755), 0);
    const struct vfs_cap_data all = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                     .data = {{~0u, 0}, {~0u, 0}}};
    EXPECT_EQ(setxattr(path.c_str(), kCapability, &all, sizeof(all), 0), 0);
    return client().Walk("program");
  }
  // u::rwx g::r-x o::r-x, with the bit by which a client says that its caller is not of the group.
  int SetAcl(NodeId node, bool extended) {
    struct Entry {
      uint16_t tag;
      uint16_t permissions;
      uint32_t id;
    };
    const struct {
      uint32_t version;
      Entry entries[3];
    } acl = {.version = 2, .entries = {{0x01, 7, ~0u}, {0x04, 5, ~0u}, {0x20, 5, ~0u}}};
    std::string arguments = Bytes(fuse::SetxattrIn{.size = sizeof(acl), .flags = 0});
    if (extended) {
      arguments +=
          Bytes(fuse::SetxattrExtIn{.setxattr_flags = fuse::kSetxattrAclKillSgid, .padding = 0});
    }
    return client()
        .Call(Opcode::kSetxattr, node,
              arguments + Terminated("system.posix_acl_access") + Bytes(acl))
        .error;
  }
  uint32_t Mode() { return world_.tree.Stat("served/program").st_mode & 07777; }
  bool HasCapability() {
    return getxattr(world_.tree.At("served/program").c_str(), kCapability, nullptr, 0) > 0;
  }
};

// What ends a program's privileges: a write, a truncation, an open that cuts, a new owner.
TEST_F(FileModesKillPriv, SetIdBitsAndCapabilities) {
  const auto expect_harmless = [&](const char* how) {
    EXPECT_EQ(Mode(), 0755u) << how;
    EXPECT_FALSE(HasCapability()) << how;
    world_.tree.Unlink("served/program");
  };
  {
    const NodeId node = Program();
    ASSERT_TRUE(HasCapability());
    const HandleId fh = client().Open(node, O_WRONLY);
    EXPECT_EQ(Mode(), 06755u) << "opening alone ends nothing";
    EXPECT_EQ(client().Write(node, fh, 0, "evil", 0, fuse::kWriteKillSuidgid).error, 0);
    expect_harmless("write");
    client().Release(node, fh);
  }
  {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kSize | fuse::setattr::kKillSuidgid;
    in.size = 2;
    EXPECT_EQ(client().Setattr(Program(), in).error, 0);
    expect_harmless("truncate");
  }
  {
    const NodeId node = Program();
    const FuseReply reply = client().Call(
        Opcode::kOpen, node,
        Bytes(fuse::OpenIn{.flags = O_WRONLY | O_TRUNC, .open_flags = fuse::kOpenKillSuidgid}));
    EXPECT_EQ(reply.error, 0);
    expect_harmless("open and truncate");
    client().Release(node, reply.As<fuse::OpenOut>().fh);
  }
  {
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kUid;
    in.uid = kClient;
    EXPECT_EQ(client().Setattr(Program(), in).error, 0);
    expect_harmless("chown");
  }
}

// A set-group-ID bit without the right to execute is a mark for locks, and no privilege.
TEST_F(FileModesKillPriv, AGroupBitWithoutExecuteStays) {
  const NodeId node = Program();
  const std::string path = world_.tree.At("served/program");
  // Of the process's own group: for another's, newer kernels take it as well.
  ASSERT_EQ(chown(path.c_str(), 5, getegid()), 0);
  ASSERT_EQ(chmod(path.c_str(), 06745), 0);
  const HandleId fh = client().Open(node, O_WRONLY);
  EXPECT_EQ(client().Write(node, fh, 0, "evil", 0, fuse::kWriteKillSuidgid).error, 0);
  EXPECT_EQ(Mode(), 02745u);
  client().Release(node, fh);
}

// The process is itself again after such a write: the next one keeps what it is to keep.
TEST_F(FileModesKillPriv, OneWriteIsNotTheNext) {
  for (int i = 0; i < 50; ++i) {
    const NodeId node = Program();
    const HandleId fh = client().Open(node, O_WRONLY);
    EXPECT_EQ(client().Write(node, fh, 0, "evil", 0, fuse::kWriteKillSuidgid).error, 0);
    fuse::SetattrIn in = {};
    in.valid = fuse::setattr::kMode;
    in.mode = 06755;
    EXPECT_EQ(client().Setattr(node, in).error, 0);
    EXPECT_EQ(Mode(), 06755u) << "somebody else's group, which only FSETID keeps";
    EXPECT_EQ(client().Write(node, fh, 0, "more").error, 0);
    EXPECT_EQ(Mode(), 06755u);
    client().Release(node, fh);
    world_.tree.Unlink("served/program");
  }
}

// An ACL takes the bit away where chmod(2) would, and only where the client may set ACLs at all.
TEST_F(FileModesKillPriv, AclsEndAGroupBit) {
  const NodeId hidden = Program();
  EXPECT_EQ(SetAcl(hidden, /*extended=*/false), EOPNOTSUPP) << "without the flag there are none";
  EXPECT_EQ(Mode(), 06755u);
  fuse::SessionOptions options = Permissive();
  options.posix_acl = true;
  world_.Restart(options);
  const int error = SetAcl(client().Walk("program"), /*extended=*/true);
  if (error == EOPNOTSUPP) return;  // the host's file system has none
  EXPECT_EQ(error, 0);
  EXPECT_EQ(Mode() & S_ISGID, 0u);
}

// Ids that the mount does not have: refused, and no file is left of the attempt.
TEST_F(FileModesKillPriv, UnmappedIds) {
  fuse::SessionOptions options = Permissive();
  ASSERT_TRUE(options.uid_map.Add("forbid-guest:100:10").ok());
  ASSERT_TRUE(options.gid_map.Add("forbid-guest:200:10").ok());
  world_.Restart(options);
  const auto before = world_.tree.Snapshot();
  const auto ids = {std::pair<uint32_t, uint32_t>{105, 0}, {0, 205}, {105, 205}};
  for (const auto& [uid, gid] : ids) {
    client().uid = uid;
    client().gid = gid;
    const std::string name = Terminated("made");
    const fuse::CreateIn create = {
        .flags = O_RDWR, .mode = S_IFREG | 0644, .umask = 0, .open_flags = 0};
    EXPECT_EQ(client().Call(Opcode::kCreate, NodeId::kRoot, Bytes(create) + name).error, EPERM);
    EXPECT_EQ(client().Call(Opcode::kTmpfile, NodeId::kRoot, Bytes(create) + Terminated("/")).error,
              EPERM);
    const fuse::MkdirIn mkdir = {.mode = 0755, .umask = 0};
    EXPECT_EQ(client().Call(Opcode::kMkdir, NodeId::kRoot, Bytes(mkdir) + name).error, EPERM);
    const fuse::MknodIn mknod = {.mode = S_IFREG | 0644, .rdev = 0, .umask = 0, .padding = 0};
    EXPECT_EQ(client().Call(Opcode::kMknod, NodeId::kRoot, Bytes(mknod) + name).error, EPERM);
    EXPECT_EQ(client().Call(Opcode::kSymlink, NodeId::kRoot, name + Terminated("x")).error, EPERM);
  }
  EXPECT_EQ(world_.tree.Snapshot(), before);
}

}  // namespace
}  // namespace gofer::testing
