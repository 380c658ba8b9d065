// The host's kernel as the client of a session that lives in this process.

#include "fuse/dev/dev_fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/fuse_mount.h"
#include "test/support/temp_tree.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::CountOpenFds;
using ::gofer::testing::CountThreads;
using ::gofer::testing::FuseMount;
using ::gofer::testing::FuseMountOptions;
using ::gofer::testing::IsPrivileged;
using ::gofer::testing::ServeTree;
using ::gofer::testing::TempTree;

class DevFuseTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs root and the right to mount";
    // Mounts of the host are copied by whoever makes a mount namespace meanwhile, and the kernel ends
    // a connection with the last copy.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr), 0);
    tree_.Mkdir("served");
    tree_.Mkdir("mnt");
  }

  void Mount(const FuseMountOptions& options = {}) {
    filesystem_ = ServeTree(tree_, "served");
    mount_ = std::make_unique<FuseMount>(filesystem_.get(), tree_.At("mnt"), options);
  }
  void MountWithHostLocks() {
    FuseMountOptions options;
    options.session.posix_locks = true;
    options.session.flock_locks = true;
    Mount(options);
  }
  std::string At(const std::string& name) const { return tree_.At("mnt/" + name); }

  TempTree tree_;
  std::unique_ptr<fs::Filesystem> filesystem_;
  std::unique_ptr<FuseMount> mount_;
};

TEST_F(DevFuseTest, ServesTheTree) {
  Mount();
  tree_.Write("mnt/f", "text");
  EXPECT_EQ(tree_.Read("served/f"), "text");
  tree_.Mkdir("served/d");
  tree_.Symlink("served/d/l", "aim");
  EXPECT_EQ(tree_.Snapshot().count("mnt/d/l"), 1u);
  tree_.Rename("mnt/f", "mnt/d/g");
  EXPECT_EQ(tree_.Read("served/d/g"), "text");
  mount_->Unmount();
  EXPECT_FALSE(tree_.Exists("mnt/d"));
}

TEST_F(DevFuseTest, DataOfEverySizeArrivesWhole) {
  Mount();
  std::string data;
  for (int i = 0; data.size() < (3u << 20) + 123; ++i) data += std::to_string(i);
  tree_.Write("mnt/f", data);
  EXPECT_EQ(tree_.Read("served/f"), data);
  EXPECT_EQ(tree_.Read("mnt/f"), data);
}

TEST_F(DevFuseTest, IsOverWhenSomebodyElseUnmounts) {
  Mount();
  struct stat st;
  ASSERT_EQ(stat(At("").c_str(), &st), 0);
  ASSERT_EQ(umount2(tree_.At("mnt").c_str(), 0), 0);
  EXPECT_EQ(mount_->device().WaitForEnd(), absl::OkStatus());
  EXPECT_EQ(mount_->session().connection().get(), nullptr) << "what the client had is dropped";
}

TEST_F(DevFuseTest, StopLeavesTheConnectionToOthers) {
  Mount();
  tree_.Write("served/f", "text");
  EXPECT_EQ(tree_.Read("mnt/f"), "text");
  mount_->device().Stop();
  EXPECT_EQ(mount_->device().WaitForEnd(), absl::OkStatus());
  // Nobody answers, but the kernel waits: it would not if the connection had been ended.
  std::thread client([&] {
    struct stat st;
    EXPECT_EQ(stat(At("missing").c_str(), &st), -1);
    EXPECT_TRUE(errno == ECONNABORTED || errno == ENOTCONN) << errno;
  });
  absl::SleepFor(absl::Milliseconds(50));
  mount_->Abandon();
  client.join();
}

TEST_F(DevFuseTest, ClientsThatHoldFilesDoNotKeepTheMount) {
  Mount();
  tree_.Write("served/f", "text");
  const UniqueFd held(open(At("f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(held.valid());
  mount_->Unmount();
  EXPECT_EQ(pwrite(held.get(), "x", 1, 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(DevFuseTest, WhatWasKeptBackIsWrittenBeforeClientsAreCutOff) {
  FuseMountOptions options;
  options.session.writeback = true;
  Mount(options);
  const UniqueFd held(open(At("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(held.valid());
  ASSERT_EQ(write(held.get(), "kept back", 9), 9);
  mount_->Unmount();
  EXPECT_EQ(tree_.Read("served/f"), "kept back");
}

TEST_F(DevFuseTest, NonBlockingDescriptorsWillDo) {
  FuseMountOptions options;
  options.non_blocking = true;
  Mount(options);
  tree_.Write("mnt/f", "text");
  EXPECT_EQ(tree_.Read("served/f"), "text");
  mount_->Unmount();
}

TEST_F(DevFuseTest, ThreadsComeWithTheLoadUpToTheirLimit) {
  FuseMountOptions options;
  options.max_threads = 3;
  Mount(options);
  tree_.Write("served/f", std::string(1 << 20, 'x'));
  std::vector<std::thread> clients;
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&] {
      for (int k = 0; k < 50; ++k) EXPECT_EQ(tree_.Read("mnt/f").size(), size_t{1} << 20);
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_GE(mount_->device().threads(), 2u);
  EXPECT_LE(mount_->device().threads(), 3u);
}

TEST_F(DevFuseTest, LeavesNothingBehind) {
  const size_t fds = CountOpenFds();
  const size_t threads = CountThreads();
  for (int i = 0; i < 5; ++i) {
    Mount();
    tree_.Write("mnt/f", "text");
    mount_.reset();
    filesystem_.reset();
  }
  EXPECT_EQ(CountOpenFds(), fds);
  EXPECT_EQ(CountThreads(), threads);
}

// With the host's locks a lock that waits is a deferred request, and the kernel sends INTERRUPT
// when who waits gets a signal.
TEST_F(DevFuseTest, AWaitForALockIsInterrupted) {
  MountWithHostLocks();
  tree_.Write("served/f", "text");
  const UniqueFd held(open(tree_.At("served/f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGALRM, &action, nullptr);
    const int fd = open(At("f").c_str(), O_RDWR);
    ualarm(100'000, 100'000);  // again and again: the first may come before the wait
    if (flock(fd, LOCK_EX) == 0) _exit(1);
    _exit(errno == EINTR ? 0 : 2);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(flock(held.get(), LOCK_UN), 0);
}

TEST_F(DevFuseTest, AWaitForALockEndsWithTheLock) {
  MountWithHostLocks();
  tree_.Write("served/f", "text");
  UniqueFd held(open(tree_.At("served/f").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(held.get(), LOCK_EX), 0);
  std::thread waiter([&] {
    const UniqueFd fd(open(At("f").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(flock(fd.get(), LOCK_EX), 0);
  });
  absl::SleepFor(absl::Milliseconds(50));
  held.Reset();
  waiter.join();
}

}  // namespace
}  // namespace gofer::fuse
