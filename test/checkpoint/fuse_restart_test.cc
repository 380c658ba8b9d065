// A mount of this machine outlives who serves it: the descriptor of /dev/fuse is kept, the session
// is saved, and another one, in another Filesystem, goes on. Who has files open on the mount does
// not notice.

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "fuse/dev/dev_fuse.h"
#include "fuse/dev/mount_keeper.h"
#include "fuse/session/session.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/dev_fuse.h"
#include "gofer/sys/interrupt.h"
#include "gtest/gtest.h"
#include "lisafs/server/server.h"
#include "test/support/forked.h"
#include "test/support/fuse_mount.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using ::testing::SizeIs;

const fuse::SessionOptions kWithLocks = {.posix_locks = true, .flock_locks = true};

// One life of a gofer: everything of it but the mount.
struct Life {
  Life(const TempTree& tree, BorrowedFd device)
      : filesystem(ServeTree(tree, "served")), session(filesystem.get(), kWithLocks) {
    std::vector<UniqueFd> devices;
    devices.emplace_back(fcntl(device.get(), F_DUPFD_CLOEXEC, 0));
    dev_fuse = std::make_unique<fuse::DevFuse>(session, std::move(devices));
  }

  std::unique_ptr<fs::Filesystem> filesystem;
  fuse::Session session;
  std::unique_ptr<fuse::DevFuse> dev_fuse;
};

class FuseRestartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs root and the right to mount";
    CHECK(sys::EnableInterrupts().ok());
    tree_.Mkdir("served");
    tree_.Mkdir("mnt");
    device_ = *sys::OpenDevFuse();
    auto keeper = fuse::MountKeeper::Create(
        device_, tree_.At("mnt"), {.source = "test", .allow_other = true, .read_only = false});
    CHECK(keeper.ok()) << keeper.status();
    keeper_ = std::make_unique<fuse::MountKeeper>(*std::move(keeper));
    life_ = std::make_unique<Life>(tree_, device_);
    life_->dev_fuse->Start();
    CHECK(keeper_->Attach().ok());
  }
  void TearDown() override {
    if (keeper_ == nullptr) return;
    EXPECT_TRUE(keeper_->Detach().ok());
    life_->dev_fuse->Stop();
    EXPECT_TRUE(life_->dev_fuse->WaitForEnd().ok());
  }

  absl::StatusOr<std::string> Save(bool leave_running) {
    const checkpoint::FuseClient clients[] = {
        {.way = "fuse", .session = &life_->session, .device = life_->dev_fuse.get()}};
    const lisafs::Server no_sandbox(life_->filesystem.get(), {});
    std::string image;
    const absl::Status saved =
        checkpoint::Save({.filesystem = *life_->filesystem, .lisafs = no_sandbox, .fuse = clients},
                         {.leave_running = leave_running},
                         [&](absl::string_view payload) {
                           image = std::string(payload);
                           return absl::OkStatus();
                         })
            .status();
    if (!saved.ok()) return saved;
    return image;
  }
  void Restart() {
    const absl::StatusOr<std::string> image = Save(/*leave_running=*/false);
    ASSERT_TRUE(image.ok()) << image.status();
    life_.reset();
    absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Decode(*image);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    ASSERT_THAT(loaded->fuse, SizeIs(1));
    EXPECT_EQ(loaded->fuse[0].way, "fuse");
    life_ = std::make_unique<Life>(tree_, device_);
    fs::TreeRestore tree(*life_->filesystem, std::move(loaded->files), {});
    EXPECT_THAT(tree.Examine().findings, SizeIs(0));
    ASSERT_TRUE(tree.Take().ok());
    const absl::Status restored = life_->session.Restore(loaded->fuse[0].session, tree);
    ASSERT_TRUE(restored.ok()) << restored;
    life_->dev_fuse->Start();
  }
  std::string At(const std::string& name) const { return tree_.At("mnt/" + name); }

  TempTree tree_;
  UniqueFd device_;
  std::unique_ptr<fuse::MountKeeper> keeper_;
  std::unique_ptr<Life> life_;
};

TEST_F(FuseRestartTest, OpenFilesGoOn) {
  tree_.Write("served/file", "content");
  const UniqueFd reading(open(At("file").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd writing(open(At("new").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  const UniqueFd gone(open(At("gone").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  ASSERT_TRUE(reading.valid() && writing.valid() && gone.valid());
  ASSERT_EQ(write(writing.get(), "one", 3), 3);
  ASSERT_EQ(write(gone.get(), "kept", 4), 4);
  ASSERT_EQ(unlink(At("gone").c_str()), 0);
  for (int i = 0; i < 3; ++i) Restart();
  char buffer[16];
  EXPECT_EQ(std::string(buffer, static_cast<size_t>(read(reading.get(), buffer, 16))), "content");
  EXPECT_EQ(write(writing.get(), "two", 3), 3);
  EXPECT_EQ(tree_.Read("served/new"), "onetwo");
  EXPECT_EQ(pread(gone.get(), buffer, 16, 0), 4);
  tree_.Write("mnt/after", "text");
  EXPECT_EQ(tree_.Read("served/after"), "text");
}

TEST_F(FuseRestartTest, ListingsGoOn) {
  for (int i = 0; i < 500; ++i) tree_.Write(absl::StrCat("served/entry", i), "");
  DIR* const dir = opendir(At("").c_str());
  ASSERT_NE(dir, nullptr);
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.emplace_back(readdir(dir)->d_name);
  Restart();
  while (const struct dirent* entry = readdir(dir)) names.emplace_back(entry->d_name);
  closedir(dir);
  std::sort(names.begin(), names.end());
  EXPECT_THAT(names, SizeIs(502));
  EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
}

// What comes while nobody serves waits in the kernel.
TEST_F(FuseRestartTest, RequestsInBetweenAreAnswered) {
  tree_.Write("served/file", "content");
  std::atomic<bool> ending{false};
  std::atomic<int> done{0};
  std::thread client([&] {
    while (!ending) {
      const std::string name = At(absl::StrCat("d", done.load()));
      EXPECT_EQ(mkdir(name.c_str(), 0755), 0) << strerror(errno);
      EXPECT_EQ(rmdir(name.c_str()), 0) << strerror(errno);
      ++done;
    }
  });
  for (int i = 0; i < 10; ++i) {
    const int before = done;
    Restart();
    while (done < before + 3) absl::SleepFor(absl::Milliseconds(1));
  }
  ASSERT_TRUE(Save(/*leave_running=*/true).ok());
  const int before = done;
  while (done < before + 3) absl::SleepFor(absl::Milliseconds(1));
  ending = true;
  client.join();
}

TEST_F(FuseRestartTest, LocksAreHeldAndWaitedForOn) {
  tree_.Write("served/file", "content");
  UniqueFd holding(open(At("file").c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_EQ(flock(holding.get(), LOCK_EX), 0);
  std::atomic<bool> locked{false};
  std::thread waiter([&] {
    const UniqueFd fd(open(At("file").c_str(), O_RDWR | O_CLOEXEC));
    EXPECT_EQ(flock(fd.get(), LOCK_EX), 0) << strerror(errno);
    locked = true;
  });
  absl::SleepFor(absl::Milliseconds(50));
  Restart();
  ASSERT_TRUE(Save(/*leave_running=*/true).ok());
  const UniqueFd other(open(tree_.At("served/file").c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_EQ(flock(other.get(), LOCK_EX | LOCK_NB), -1) << "it is held";
  EXPECT_FALSE(locked);
  holding.Reset();
  waiter.join();
  EXPECT_TRUE(locked);
}

}  // namespace
}  // namespace gofer::testing
