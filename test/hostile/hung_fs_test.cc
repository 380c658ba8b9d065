// A file system of the host that never answers, mounted in the served tree: who asks for it waits,
// and nobody else does; and a gofer that is told to end does not wait for it. Attack.
//
// Source: spec/security.md s.4 and s.10.

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/hostile/hostile_process.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

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
    device_ = UniqueFd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    ASSERT_TRUE(device_.valid());
    const std::string options =
        absl::StrCat("fd=", device_.get(), ",rootmode=40000,user_id=0,group_id=0");
    ASSERT_EQ(
        mount("hung", tree_.At("mnt/hung").c_str(), "fuse", MS_NOSUID | MS_NODEV, options.c_str()),
        0);
    Start();
  }
  void TearDown() override {
    // Whatever became of the test: those who wait get an error now.
    device_.Reset();
    for (std::thread& thread : waiting_) thread.join();
    if (gofer_ != nullptr) gofer_->Wait(absl::Seconds(5));
    Forget();
    umount2(tree_.At("mnt/hung").c_str(), MNT_DETACH);
  }

  // As many clients that ask for what is mounted there, each in a thread.
  void Stall(int clients) {
    for (int i = 0; i < clients; ++i) {
      hostile_.push_back(Connect());
      ASSERT_NE(hostile_.back(), nullptr);
      waiting_.emplace_back([client = hostile_.back().get()] {
        lisafs::Inode inodes[3];
        (void)client->client.Walk(client->root.control_fd, {"mnt", "hung", "x"}, inodes).ok();
      });
    }
    absl::SleepFor(absl::Milliseconds(50));  // until they wait; too early would only miss a defect
  }

  UniqueFd device_;
  std::vector<std::unique_ptr<Client>> hostile_;
  std::vector<std::thread> waiting_;
};

TEST_F(HungFsTest, StallsWhoAsksAndNobodyElse) {
  Stall(4);
  std::vector<absl::Duration> took;
  const std::unique_ptr<Client> newcomer = Connect();
  ASSERT_NE(newcomer, nullptr);
  for (int i = 0; i < 300; ++i) {
    const absl::Time start = absl::Now();
    const ErrnoOr<lisafs::Inode> file = Walk(*newcomer, "file");
    ASSERT_TRUE(file.ok());
    const std::string name = absl::StrCat("new", i);
    const auto made =
        newcomer->client.OpenCreateAt(newcomer->root.control_fd, name, 0600, {}, O_RDWR);
    ASSERT_TRUE(made.ok());
    took.push_back((absl::Now() - start) / 2);
  }
  EXPECT_LT(Percentile99(took), absl::Milliseconds(10));
  ExpectHonestServed();
  EXPECT_GT(StatusNumber("file_descriptors"), 0) << "the control socket answers";
  gofer_->Signal(SIGKILL);
}

TEST_F(HungFsTest, EndsInFiveSecondsAllTheSame) {
  Stall(4);
  const absl::Time start = absl::Now();
  gofer_->Signal(SIGTERM);
  EXPECT_EQ(gofer_->Wait(absl::Seconds(9)), 1) << "it did not finish what it was asked";
  EXPECT_LE(absl::Now() - start, absl::Milliseconds(5500));
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

}  // namespace
}  // namespace gofer::testing
