// A file system of the host that never answers, mounted in the served tree: who asks for it waits,
// and nobody else does; and a gofer that is told to end does not wait for it. Attack.
//
// Source: spec/security.md s.4 and s.10.

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "test/hostile/hostile_process.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/latency.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"

namespace gofer::testing {
namespace {

// What is mounted there hangs until the descriptor is closed.
UniqueFd MountHung(const std::string& at) {
  UniqueFd device(open("/dev/fuse", O_RDWR | O_CLOEXEC));
  PCHECK(device.valid());
  const std::string options =
      absl::StrCat("fd=", device.get(), ",rootmode=40000,user_id=0,group_id=0");
  PCHECK(mount("hung", at.c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()) == 0);
  return device;
}

// What a file that is made, renamed and removed takes without a gofer.
void MakeAndRemove(const TempTree& tree) {
  tree.Write("bare", "");
  tree.Rename("bare", "bare-moved");
  tree.Unlink("bare-moved");
}

class HungFsTest : public HostileProcessTest {
 protected:
  void SetUp() override {
    HostileProcessTest::SetUp();
    if (IsSkipped()) return;
    tree_.Mkdir("mnt");
    tree_.Mkdir("mnt/hung");
    // Somebody who mounts it and never reads a request. Only this test and the gofer see it.
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr), 0);
    device_ = MountHung(tree_.At("mnt/hung"));
    Start();
  }
  void TearDown() override {
    // Whatever became of the test: those who wait get an error now.
    device_.Reset();
    for (std::thread& thread : waiting_) thread.join();
    if (gofer_ != nullptr) gofer_->Wait();
    Forget();
    umount2(tree_.At("mnt/hung").c_str(), MNT_DETACH);
  }

  // As many clients that ask for what is mounted there, each in a thread, every other over a
  // channel.
  void Stall(int clients) {
    for (int i = 0; i < clients; ++i) {
      hostile_.push_back(Connect());
      ASSERT_NE(hostile_.back(), nullptr);
      lisafs::Client& client = hostile_.back()->client;
      if (i % 2 == 1) Must(client.OpenChannel());
      const lisafs::Calls calls = i % 2 == 1 ? client.over_channel(0) : client.over_socket();
      waiting_.emplace_back([calls, root = hostile_.back()->root.control_fd] {
        lisafs::Inode inodes[3];
        (void)calls.Walk(root, {"mnt", "hung", "x"}, inodes).ok();
      });
    }
    // Of those that ask for the same name all but one may wait for that one.
    EXPECT_TRUE(Eventually([&] { return Hangs(); })) << "nobody waits for the hung file system";
    absl::SleepFor(absl::Milliseconds(50));  // for the others; too early would only miss a defect
  }
  // At most five seconds, and the time that it takes to begin and to end.
  void ExpectEndsUnfinished() {
    const Stopwatch watch;
    gofer_->Signal(SIGTERM);
    EXPECT_EQ(gofer_->Wait(), 1) << "it did not finish what it was asked";
    EXPECT_LE(watch.Elapsed(), absl::Milliseconds(5500));
  }
  // Whether a thread of the gofer is in a call with which it looks for a name.
  bool Hangs() const {
    for (const auto& task :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", gofer_->pid(), "/task"))) {
      std::ifstream file(task.path() / "syscall");  // "running" where it is in none
      long number = -1;
      if (!(file >> number)) continue;
      for (const long call : {SYS_openat, SYS_openat2, SYS_statx, SYS_newfstatat}) {
        if (number == call) return true;
      }
    }
    return false;
  }

  UniqueFd device_;
  std::vector<std::unique_ptr<Client>> hostile_;
  std::vector<std::thread> waiting_;
};

TEST_F(HungFsTest, StallsWhoAsksAndNobodyElse) {
  Stall(4);
  const std::unique_ptr<Client> newcomer = Connect();
  ASSERT_NE(newcomer, nullptr);
  Echo echo;
  const absl::Duration best = BestPercentile99(
      [&](int number) {
        if (number % 2 == 0) {
          EXPECT_TRUE(Walk(*newcomer, "file").ok());
          return;
        }
        const std::string name = absl::StrCat("new", number);
        EXPECT_TRUE(
            newcomer->client.OpenCreateAt(newcomer->root.control_fd, name, 0600, {}, O_RDWR).ok());
      },
      [&](int number) {
        echo.Exchange();
        if (number % 2 == 1) MakeAndRemove(tree_);
      });
  EXPECT_LE(best, absl::Milliseconds(10));
  ExpectHonestServed();
  EXPECT_GT(StatusNumber("file_descriptors"), 0) << "the control socket answers";
  gofer_->Signal(SIGKILL);
}

// The directory that it is mounted in is none of a hung file system: who looks there for what is
// mounted keeps nobody else from names in it, whatever these do with them, nor do these keep each
// other.
TEST_F(HungFsTest, NamesBesideItAreLookedUpAndChanged) {
  for (const char* const name : {"mnt/a", "mnt/b"}) tree_.Write(name, "content");
  Stall(4);
  const std::unique_ptr<Client> newcomer = Connect();
  ASSERT_NE(newcomer, nullptr);
  ASSERT_TRUE(newcomer->client.OpenChannel().ok());
  const lisafs::FdId mnt = Must(Walk(*newcomer, "mnt")).control_fd;
  constexpr int kAnswers = 8;
  const auto ask = [&](int number) {
    const lisafs::Calls calls =
        number % 2 == 0 ? newcomer->client.over_socket() : newcomer->client.over_channel(0);
    const std::string name = absl::StrCat("new", number);
    const std::string moved = absl::StrCat("moved", number);
    ASSERT_EQ(ErrorOf(calls.OpenCreateAt(mnt, name, 0600, {}, O_RDWR)), 0);
    ASSERT_EQ(ErrorOf(calls.RenameAt(mnt, name, mnt, moved)), 0);
    lisafs::Inode inode;
    for (const absl::string_view known : {absl::string_view("a"), absl::string_view(moved)}) {
      const auto walked = calls.Walk(mnt, {known}, std::span(&inode, 1));
      ASSERT_TRUE(walked.ok());
      ASSERT_EQ(walked->count, 1u) << known;
    }
    ASSERT_EQ(ErrorOf(calls.UnlinkAt(mnt, moved, 0)), 0);
    // Not even with the very name.
    EXPECT_EQ(ErrorOf(calls.UnlinkAt(mnt, "hung", AT_REMOVEDIR)), EBUSY);
    EXPECT_EQ(ErrorOf(calls.RenameAt(mnt, "hung", mnt, "free")), EBUSY);
    EXPECT_EQ(ErrorOf(calls.MkdirAt(mnt, "hung", 0700, {})), EEXIST);
  };
  Echo echo;
  const auto bare = [&](int) {
    for (int i = 0; i < kAnswers; ++i) echo.Exchange();
    MakeAndRemove(tree_);
  };
  EXPECT_LE(
      BestPercentile99(ask, bare, {.allowed = kAnswers * absl::Milliseconds(10), .requests = 200}),
      kAnswers * absl::Milliseconds(10));
  ExpectHonestServed();
  ExpectEndsUnfinished();
}

// Nor does a save wait for it any longer than it is told to, and clients are served on.
TEST_F(HungFsTest, ASaveGivesUpWhenItIsToldTo) {
  Stall(1);
  const TempTree image;
  const Stopwatch watch;
  GoferProcess save({.arguments = {"checkpoint", "--image_path=" + image.path(),
                                   "--control_socket=" + run_.At("control"), "--leave_running",
                                   "--save_quiesce_seconds=1"}});
  EXPECT_EQ(save.Wait(), 1);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(4));
  EXPECT_TRUE(absl::StrContains(save.Stderr(), "did not end within 1s")) << save.Stderr();
  EXPECT_FALSE(image.Exists("gofer.img"));
  ExpectHonestServed();
  gofer_->Signal(SIGKILL);
}

TEST_F(HungFsTest, EndsInFiveSecondsAllTheSame) {
  Stall(4);
  ExpectEndsUnfinished();
  EXPECT_TRUE(absl::StrContains(gofer_->Stderr(), "a host file system hangs"));
}

TEST_F(HungFsTest, GoesOnWhenTheFileSystemIsGone) {
  Stall(2);
  device_.Reset();
  for (std::thread& thread : waiting_) thread.join();
  waiting_.clear();
  lisafs::Inode inodes[2];
  const auto walked = honest_->client.Walk(honest_->root.control_fd, {"mnt", "hung"}, inodes);
  EXPECT_EQ(ErrorOf(walked), ENOTCONN) << "what the kernel says of it";
  ExpectHonestServed();
  hostile_.clear();
  gofer_->Signal(SIGTERM);
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
}

// The same gofer has a mount on this machine.
class HungBelowMountTest : public HungFsTest {
 protected:
  void SetUp() override {
    HostileProcessTest::SetUp();
    if (IsSkipped()) return;
    tree_.Mkdir("mnt");
    tree_.Mkdir("mnt/hung");
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr), 0);
    device_ = MountHung(tree_.At("mnt/hung"));
    Pipe ready = MakePipe();
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = {"serve", absl::StrCat("--root=", served_), "--ready_fd=9",
                                 absl::StrCat("--lisafs_socket=", run_.At("lisafs")),
                                 absl::StrCat("--fuse_mountpoint=", fuse_.path())},
                   .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
  }

  const TempTree fuse_;
};

TEST_F(HungBelowMountTest, NamesBesideItAreLookedUpAndChanged) {
  tree_.Write("mnt/a", "content");
  Stall(2);
  const std::unique_ptr<Client> sandbox = Connect();
  ASSERT_NE(sandbox, nullptr);
  const lisafs::FdId mnt = Must(Walk(*sandbox, "mnt")).control_fd;
  const auto change_from_sandbox = [&](const std::string& name) {
    ASSERT_EQ(ErrorOf(sandbox->client.OpenCreateAt(mnt, name, 0600, {}, O_RDWR)), 0);
    ASSERT_EQ(ErrorOf(sandbox->client.UnlinkAt(mnt, name, 0)), 0);
  };
  const Stopwatch watch;
  for (int i = 0; i < 100; ++i) {
    const std::string name = absl::StrCat("mnt/f", i);
    const std::string moved = absl::StrCat("mnt/g", i);
    fuse_.Write(name, "text");
    ASSERT_EQ(rename(fuse_.At(name).c_str(), fuse_.At(moved).c_str()), 0);
    EXPECT_EQ(tree_.Read(moved), "text");
    ASSERT_EQ(unlink(fuse_.At(moved).c_str()), 0);
    change_from_sandbox("s");
  }
  EXPECT_LT(watch.Elapsed(), absl::Seconds(2));
  // Now the mount's own client asks for it. Its kernel lets nobody change a directory while it
  // waits for a lookup there; but look, and others may do both.
  waiting_.emplace_back([this] { EXPECT_EQ(access(fuse_.At("mnt/hung").c_str(), F_OK), -1); });
  absl::SleepFor(absl::Milliseconds(50));
  const Stopwatch later;
  EXPECT_EQ(fuse_.Read("mnt/a"), "content");
  for (int i = 0; i < 100; ++i) {
    change_from_sandbox("s");
    tree_.Write(absl::StrCat("mnt/later", i), "text");
    EXPECT_EQ(fuse_.Read(absl::StrCat("mnt/later", i)), "text");
  }
  EXPECT_LT(later.Elapsed(), absl::Seconds(2));
  ExpectEndsUnfinished();
}

// A file system that has answered for a while: another gofer, which is stopped.
class StoppedFsTest : public HostileProcessTest {
 protected:
  void SetUp() override { StartServing({}); }
  void StartServing(std::vector<std::string> flags) {
    HostileProcessTest::SetUp();
    if (IsSkipped()) return;
    tree_.Mkdir("slow");
    ASSERT_EQ(unshare(CLONE_NEWNS), 0);
    ASSERT_EQ(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr), 0);
    Pipe ready = MakePipe();
    slow_ = std::make_unique<GoferProcess>(
        GoferStart{.arguments = {"serve", absl::StrCat("--root=", backing_.path()), "--ready_fd=9",
                                 absl::StrCat("--fuse_mountpoint=", tree_.At("slow"))},
                   .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(ReadPipe(ready.read), "\n") << slow_->Stderr();
    Start(std::move(flags));
  }
  // Who waits for the other file system first.
  void EndAll() {
    gofer_->Signal(SIGTERM);
    EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
    Forget();
    slow_->Signal(SIGTERM);
    EXPECT_EQ(slow_->Wait(), 0) << slow_->Stderr();
  }

  const TempTree backing_;
  std::unique_ptr<GoferProcess> slow_;
};

TEST_F(StoppedFsTest, WhatIsMovedThereKeepsNobodyFromWhereItWas) {
  tree_.Write("moved", "content");
  const std::unique_ptr<Client> makes = Connect();
  const std::unique_ptr<Client> moves = Connect();
  ASSERT_TRUE(makes != nullptr && moves != nullptr);
  const lisafs::FdId there = Must(Walk(*makes, "slow")).control_fd;
  const lisafs::FdId target = Must(Walk(*moves, "slow")).control_fd;
  const lisafs::FdId file = Must(Walk(*moves, "moved")).control_fd;
  slow_->Signal(SIGSTOP);
  // Waits, and holds that directory.
  std::thread waiting(
      [&] { EXPECT_EQ(ErrorOf(makes->client.OpenCreateAt(there, "new", 0600, {}, O_RDWR)), 0); });
  absl::SleepFor(absl::Milliseconds(50));
  const Stopwatch watch;
  EXPECT_EQ(ErrorOf(moves->client.RenameAt(moves->root.control_fd, "moved", target, "moved")),
            EXDEV);
  EXPECT_EQ(ErrorOf(honest_->client.OpenCreateAt(honest_->root.control_fd, "x", 0600, {}, O_RDWR)),
            0);
  EXPECT_TRUE(Walk(*honest_, "file").ok());
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  slow_->Signal(SIGCONT);
  waiting.join();
  EXPECT_EQ(backing_.Read("new"), "");
  EXPECT_EQ(ErrorOf(moves->client.Close({file})), 0);
  EndAll();
}

class StoppedFsSocketTest : public StoppedFsTest {
 protected:
  void SetUp() override { StartServing({"--host_uds=all"}); }
};

// A path is the only name that a socket is bound or connected by, and the way along it hangs.
TEST_F(StoppedFsSocketTest, WhoBindsThereKeepsNobodyFromSocketsElsewhere) {
  const std::unique_ptr<Client> binds = Connect();
  ASSERT_NE(binds, nullptr);
  const lisafs::FdId there = Must(Walk(*binds, "slow")).control_fd;
  slow_->Signal(SIGSTOP);
  std::atomic<bool> answered = false;
  std::thread waiting([&] {
    (void)binds->client.BindAt(there, "socket", SOCK_STREAM, 0600, {}).ok();
    answered = true;
  });
  absl::SleepFor(absl::Milliseconds(50));
  lisafs::Client& client = honest_->client;
  const auto use_a_socket = [&](int number) {
    const std::string name = absl::StrCat("socket", number);
    const auto bound = client.BindAt(honest_->root.control_fd, name, SOCK_STREAM, 0600, {});
    ASSERT_EQ(ErrorOf(bound), 0);
    ASSERT_EQ(ErrorOf(client.Listen(bound->fd, 1)), 0);
    ASSERT_EQ(ErrorOf(client.Connect(bound->child.control_fd, SOCK_STREAM)), 0);
    ASSERT_EQ(ErrorOf(client.Close({bound->fd, bound->child.control_fd})), 0);
  };
  Echo echo;
  const auto bare = [&](int) {
    echo.Exchange();
    MakeAndRemove(tree_);
  };
  EXPECT_LE(BestPercentile99(use_a_socket, bare, {.requests = 100}), absl::Milliseconds(10));
  EXPECT_FALSE(answered) << "or it did not hang";
  slow_->Signal(SIGCONT);
  waiting.join();
  EndAll();
}

}  // namespace
}  // namespace gofer::testing
