// A guest of the binary under the name of virtiofsd: that each option does to files what it says,
// confined as it is by default, where a system call that the filter lacks would end it.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::virtiofsd {
namespace {

using fuse::NodeId;
using testing::ErrorOf;
using testing::Must;
using vhost::driver::FuseClient;
using vhost::driver::FuseClientOptions;
using vhost::driver::Machine;

constexpr NodeId kRoot = NodeId::kRoot;

class GuestTest : public ::testing::Test {
 protected:
  GuestTest() {
    tree_.Write("file", "content", 0644);
    tree_.Mkdir("dir");
    PCHECK(chmod(tree_.path().c_str(), 0777) == 0);
  }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  // A daemon with these options, and a mount of it by this user.
  FuseClient& Boot(absl::string_view options, uint32_t uid = 0) {
    Halt();
    daemon_ = std::make_unique<testing::VhostDaemon>(
        absl::StrCat(testing::GoferBinary(),
                     " virtiofsd --shared-dir={dir} --socket-path={socket} ", options),
        tree_.path());
    machine_ = Must(Machine::Attach(daemon_->TakeSocket(), {}));
    Must(machine_->Start());
    FuseClientOptions client = {};
    client.uid = uid;
    client.gid = uid;
    client_ = std::make_unique<FuseClient>(machine_.get(), client);
    Must(client_->Init());
    return *client_;
  }
  // The daemon ends when its guest has gone, and well.
  void Halt() {
    client_.reset();
    machine_.reset();
    if (daemon_ == nullptr) return;
    EXPECT_EQ(daemon_->Wait(testing::kPatience), 0) << daemon_->Stderr();
    daemon_.reset();
  }
  void TearDown() override { Halt(); }

  std::string ReadFile(FuseClient& guest, NodeId node) {
    const fuse::OpenOut open = Must(guest.Open(node, O_RDONLY));
    const std::string content = Must(guest.Read(node, open.fh, 0, 4096));
    Must(guest.Release(node, open.fh));
    return content;
  }

  testing::TempTree tree_;
  std::unique_ptr<testing::VhostDaemon> daemon_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> client_;
};

TEST_F(GuestTest, EverydayWorkInEachSandbox) {
  for (const char* const options :
       {"", "--sandbox=chroot", "--sandbox=none", "--thread-pool-size=0", "--thread-pool-size=4",
        "--inode-file-handles=prefer", "--inode-file-handles=mandatory --sandbox=chroot",
        "--cache=never --allow-mmap", "--cache=always --writeback", "--killpriv-v2", "--xattr"}) {
    SCOPED_TRACE(options);
    FuseClient& guest = Boot(options);
    const fuse::EntryOut file = Must(guest.Lookup(kRoot, "file"));
    EXPECT_EQ(ReadFile(guest, file.nodeid), "content");
    const fuse::CreateOut made = Must(guest.Create(kRoot, "made", O_RDWR, 0640));
    EXPECT_EQ(Must(guest.Write(made.entry.nodeid, made.open.fh, 0, "data", 0)), 4u);
    Must(guest.Fsync(made.entry.nodeid, made.open.fh, false));
    Must(guest.Flush(made.entry.nodeid, made.open.fh));
    Must(guest.Release(made.entry.nodeid, made.open.fh));
    EXPECT_EQ(tree_.Read("made"), "data");
    Must(guest.Rename(kRoot, "made", kRoot, "renamed"));
    Must(guest.Mkdir(kRoot, "new", 0755));
    Must(guest.Link(file.nodeid, kRoot, "link"));
    Must(guest.Symlink(kRoot, "symlink", "target"));
    EXPECT_EQ(ErrorOf(guest.Lookup(kRoot, "..")), EINVAL) << "names are names in every sandbox";
    for (const char* const name : {"renamed", "link", "symlink"}) Must(guest.Unlink(kRoot, name));
    Must(guest.Rmdir(kRoot, "new"));
    size_t entries = 0;
    const fuse::OpenOut dir = Must(guest.Opendir(kRoot));
    Must(guest.Readdirplus(kRoot, dir.fh, 0, 4096, [&](const auto&) { ++entries; }));
    EXPECT_EQ(entries, 4u);
    Must(guest.Releasedir(kRoot, dir.fh));
    Must(guest.ForgetAll());
  }
}

TEST_F(GuestTest, NewFilesBelongToWhoMakesThem) {
  FuseClient& guest = Boot("", 1000);
  const fuse::CreateOut made = Must(guest.Create(kRoot, "made", O_RDWR, 0640));
  EXPECT_EQ(made.entry.attr.uid, 1000u);
  Must(guest.Mkdir(kRoot, "new", 0700));
  Must(guest.Symlink(kRoot, "symlink", "target"));
  Must(guest.Mknod(kRoot, "fifo", S_IFIFO | 0600));
  for (const char* const name : {"made", "new", "symlink", "fifo"}) {
    EXPECT_EQ(tree_.Stat(name).st_uid, 1000u) << name;
    EXPECT_EQ(tree_.Stat(name).st_gid, 1000u) << name;
  }
  EXPECT_EQ(tree_.Stat("made").st_mode, S_IFREG | 0640u);
}

TEST_F(GuestTest, WithoutTheRightToSwitchNothingIsMade) {
  FuseClient& guest = Boot("--modcaps=-setuid:-setgid", 1000);
  EXPECT_EQ(ErrorOf(guest.Create(kRoot, "made", O_RDWR, 0640)), EPERM);
  EXPECT_EQ(ErrorOf(guest.Mkdir(kRoot, "made", 0700)), EPERM);
  EXPECT_FALSE(tree_.Exists("made"));
}

TEST_F(GuestTest, DeviceNodes) {
  FuseClient& guest = Boot("");
  const fuse::EntryOut null = Must(guest.Mknod(kRoot, "null", S_IFCHR | 0666, 1 << 8 | 3));
  EXPECT_EQ(tree_.Stat("null").st_rdev, makedev(1, 3));
  EXPECT_EQ(ErrorOf(guest.Open(null.nodeid, O_RDONLY)), EBADF) << "made, but never opened here";
  FuseClient& without = Boot("--modcaps=-mknod");
  EXPECT_EQ(ErrorOf(without.Mknod(kRoot, "other", S_IFCHR | 0666, 1 << 8 | 3)), EPERM);
}

TEST_F(GuestTest, OwnersAreTranslated) {
  ASSERT_EQ(chown(tree_.At("file").c_str(), 5000, 6000), 0);
  FuseClient& guest = Boot(
      "--translate-uid=map:1000:5000:10 --translate-gid=squash-host:6000:7:1 "
      "--translate-gid=squash-guest:0:6001:4294967295 --translate-uid=forbid-guest:2000:1",
      1000);
  const fuse::EntryOut file = Must(guest.Lookup(kRoot, "file"));
  EXPECT_EQ(file.attr.uid, 1000u);
  EXPECT_EQ(file.attr.gid, 7u);
  Must(guest.Create(kRoot, "made", O_RDWR, 0640));
  EXPECT_EQ(tree_.Stat("made").st_uid, 5000u);
  EXPECT_EQ(tree_.Stat("made").st_gid, 6001u);
  fuse::SetattrIn in = {};
  in.valid = fuse::setattr::kUid;
  in.uid = 2000;
  EXPECT_EQ(ErrorOf(guest.Setattr(file.nodeid, in)), EPERM);
  EXPECT_EQ(tree_.Stat("file").st_uid, 5000u);

  FuseClient& forbidden = Boot("--translate-uid=forbid-guest:2000:1", 2000);
  EXPECT_EQ(ErrorOf(forbidden.Create(kRoot, "never", O_RDWR, 0640)), EPERM);
  EXPECT_FALSE(tree_.Exists("never"));
}

TEST_F(GuestTest, ExtendedAttributesByRules) {
  FuseClient& guest = Boot("--xattrmap=:map::user.vm.:");
  const NodeId file = Must(guest.Lookup(kRoot, "file")).nodeid;
  Must(guest.Setxattr(file, "trusted.overlay.opaque", "y", 0));
  char value[8] = {};
  EXPECT_EQ(getxattr(tree_.At("file").c_str(), "user.vm.trusted.overlay.opaque", value, 8), 1);
  EXPECT_EQ(Must(guest.Listxattr(file, 4096)), std::string("trusted.overlay.opaque\0", 23));
  EXPECT_EQ(ErrorOf(Boot("").Getxattr(kRoot, "user.a", 10)), ENOSYS) << "off by default";
}

TEST_F(GuestTest, FileCapabilitiesCanBeSet) {
  FuseClient& guest = Boot("--xattr");
  const NodeId file = Must(guest.Lookup(kRoot, "file")).nodeid;
  // VFS_CAP_REVISION_2, no capability in it.
  const std::string capability("\0\0\0\2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
  Must(guest.Setxattr(file, "security.capability", capability, 0));
  EXPECT_EQ(Must(guest.Getxattr(file, "security.capability", 100)), capability);
  FuseClient& without = Boot("--xattr --modcaps=-setfcap");
  const NodeId again = Must(without.Lookup(kRoot, "file")).nodeid;
  EXPECT_EQ(ErrorOf(without.Setxattr(again, "security.capability", capability, 0)), EPERM);
}

TEST_F(GuestTest, ReadonlyForTheKernelToo) {
  FuseClient& guest = Boot("--readonly");
  const NodeId file = Must(guest.Lookup(kRoot, "file")).nodeid;
  EXPECT_EQ(ReadFile(guest, file), "content");
  EXPECT_EQ(ErrorOf(guest.Create(kRoot, "made", O_RDWR, 0640)), EROFS);
  EXPECT_EQ(ErrorOf(guest.Unlink(kRoot, "file")), EROFS);
  EXPECT_EQ(ErrorOf(guest.Open(file, O_RDWR)), EROFS);
}

TEST_F(GuestTest, MountPointsAreAnnouncedUnlessForbidden) {
  const testing::ChildEnd end = testing::InMountNamespace([&] {
    ASSERT_EQ(mount("tmpfs", tree_.At("dir").c_str(), "tmpfs", 0, nullptr), 0);
    for (const auto& [options, flags] :
         {std::pair("", fuse::kAttrSubmount), std::pair("--no-announce-submounts", 0u)}) {
      FuseClient& guest = Boot(options);
      EXPECT_EQ(Must(guest.Lookup(kRoot, "dir")).attr.flags, flags);
      EXPECT_EQ(Must(guest.Lookup(kRoot, "file")).attr.flags, 0u);
    }
    Halt();
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(GuestTest, NoatimeIsPassedOnWhereThatIsWanted) {
  const struct timespec long_ago[2] = {{.tv_sec = 1000, .tv_nsec = 0},
                                       {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  for (const bool passed_on : {true, false}) {
    ASSERT_EQ(utimensat(AT_FDCWD, tree_.At("file").c_str(), long_ago, 0), 0);
    FuseClient& guest = Boot(passed_on ? "--preserve-noatime" : "");
    const NodeId file = Must(guest.Lookup(kRoot, "file")).nodeid;
    const fuse::OpenOut open = Must(guest.Open(file, O_RDONLY | O_NOATIME));
    EXPECT_EQ(Must(guest.Read(file, open.fh, 0, 4096)), "content");
    struct statfs mount;
    ASSERT_EQ(statfs(tree_.path().c_str(), &mount), 0);
    const bool host_keeps_times = (mount.f_flags & ST_NOATIME) != 0;
    EXPECT_EQ(tree_.Stat("file").st_atim.tv_sec == 1000, passed_on || host_keeps_times);
  }
}

TEST_F(GuestTest, FewDescriptorsForManyFiles) {
  for (int i = 0; i < 2000; ++i) tree_.Write(absl::StrCat("dir/", i), "");
  FuseClient& guest = Boot("--rlimit-nofile=700");
  const NodeId dir = Must(guest.Lookup(kRoot, "dir")).nodeid;
  for (int i = 0; i < 2000; ++i) {
    const fuse::EntryOut entry = Must(guest.Lookup(dir, absl::StrCat(i)));
    if (i % 100 == 0) {
      EXPECT_EQ(ReadFile(guest, entry.nodeid), "");
    }
  }
  EXPECT_EQ(guest.nodes_known(), 2001u) << "none of them was forgotten for want of a descriptor";
}

}  // namespace
}  // namespace gofer::virtiofsd
