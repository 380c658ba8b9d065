// A FUSE mount that is where it should be as long as it should be, and never longer.

#include "fuse/dev/mount_keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/dev_fuse.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Eventually;
using ::gofer::testing::IsPrivileged;
using ::gofer::testing::TempTree;

// "fuse.gofer /source" of the topmost mount there; nothing: none.
std::optional<std::string> MountedAt(const std::string& path) {
  FILE* const table = fopen("/proc/self/mounts", "r");
  PCHECK(table != nullptr);
  std::optional<std::string> found;
  char source[256], target[4096], type[256], options[4096];
  while (fscanf(table, "%255s %4095s %255s %4095s %*d %*d", source, target, type, options) == 4) {
    if (path == target) found = absl::StrCat(type, " ", source, " ", options);
  }
  fclose(table);
  return found;
}

bool BecomesUnmounted(const std::string& path) {
  return Eventually([&] { return !MountedAt(path).has_value(); });
}

class MountKeeperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs root and the right to mount";
    ErrnoOr<UniqueFd> device = sys::OpenDevFuse();
    ASSERT_TRUE(device.ok()) << device.error().ToString();
    device_ = *std::move(device);
    tree_.Mkdir("mnt");
  }

  MountKeeper Keep(const MountOptions& options = {.source = "/source"}) {
    absl::StatusOr<MountKeeper> keeper = MountKeeper::Create(device_, tree_.At("mnt"), options);
    CHECK(keeper.ok()) << keeper.status();
    return *std::move(keeper);
  }

  TempTree tree_;
  UniqueFd device_;
};

TEST_F(MountKeeperTest, IsThereFromAttachToDetach) {
  MountKeeper keeper = Keep({.source = "/source", .allow_other = true});
  EXPECT_EQ(MountedAt(tree_.At("mnt")), std::nullopt);
  ASSERT_TRUE(keeper.Attach().ok());
  const std::string mounted = MountedAt(tree_.At("mnt")).value_or("nothing");
  EXPECT_EQ(mounted.substr(0, 19), "fuse.gofer /source ");
  for (const char* const option : {"nosuid", "nodev", "default_permissions", "allow_other"}) {
    EXPECT_NE(mounted.find(option), std::string::npos) << option << " is not in " << mounted;
  }
  EXPECT_EQ(keeper.Detach(), absl::OkStatus());
  EXPECT_EQ(MountedAt(tree_.At("mnt")), std::nullopt);
}

TEST_F(MountKeeperTest, ReadOnlyIsTheMountToo) {
  MountKeeper keeper = Keep({.source = "/source", .read_only = true});
  ASSERT_TRUE(keeper.Attach().ok());
  EXPECT_NE(MountedAt(tree_.At("mnt")).value_or("").find(" ro,"), std::string::npos);
  EXPECT_TRUE(keeper.Detach().ok());
}

TEST_F(MountKeeperTest, GoesWithItsOwner) {
  {
    MountKeeper keeper = Keep();
    ASSERT_TRUE(keeper.Attach().ok());
  }
  EXPECT_TRUE(BecomesUnmounted(tree_.At("mnt")));
}

TEST_F(MountKeeperTest, GoesWhenItsOwnerIsKilled) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    MountKeeper keeper = Keep();
    CHECK(keeper.Attach().ok());
    CHECK_EQ(write(ready[1], "!", 1), 1);
    pause();
  }
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_NE(MountedAt(tree_.At("mnt")), std::nullopt);
  device_.Reset();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(BecomesUnmounted(tree_.At("mnt")));
  close(ready[0]);
  close(ready[1]);
}

// Old kernels give out the numbers of mounts that are gone again; there this can fail.
TEST_F(MountKeeperTest, LeavesAloneWhatOthersHaveMountedThereMeanwhile) {
  MountKeeper keeper = Keep();
  ASSERT_TRUE(keeper.Attach().ok());
  ASSERT_EQ(umount2(tree_.At("mnt").c_str(), 0), 0);
  EXPECT_EQ(MountedAt(tree_.At("mnt")), std::nullopt);
  ASSERT_EQ(mount("none", tree_.At("mnt").c_str(), "tmpfs", 0, nullptr), 0);
  EXPECT_EQ(keeper.Detach(), absl::OkStatus());
  EXPECT_EQ(MountedAt(tree_.At("mnt")).value_or("").substr(0, 6), "tmpfs ");
  ASSERT_EQ(umount2(tree_.At("mnt").c_str(), 0), 0);
}

TEST_F(MountKeeperTest, IsTakenFromThoseWhoUseIt) {
  MountKeeper keeper = Keep();
  ASSERT_TRUE(keeper.Attach().ok());
  const UniqueFd user(open(tree_.At("mnt").c_str(), O_PATH | O_CLOEXEC));
  ASSERT_TRUE(user.valid());
  device_.Reset();  // nobody serves it: what would be flushed is lost already
  EXPECT_EQ(keeper.Detach(), absl::OkStatus());
  EXPECT_EQ(MountedAt(tree_.At("mnt")), std::nullopt);
  EXPECT_EQ(faccessat(user.get(), "name", F_OK, 0), -1);
  EXPECT_EQ(errno, ENOTCONN);
}

TEST_F(MountKeeperTest, NeedsADirectory) {
  tree_.Write("file", "");
  const auto file = MountKeeper::Create(device_, tree_.At("file"), {.source = "/source"});
  EXPECT_NE(file.status().message().find("ENOTDIR"), absl::string_view::npos) << file.status();
  const auto missing = MountKeeper::Create(device_, tree_.At("missing"), {.source = "/source"});
  EXPECT_NE(missing.status().message().find("ENOENT"), absl::string_view::npos) << missing.status();
}

}  // namespace
}  // namespace gofer::fuse
