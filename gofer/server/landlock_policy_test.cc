#include "gofer/server/landlock_policy.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_join.h"
#include "gofer/sys/landlock.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

class LandlockPolicyTest : public ::testing::Test {
 protected:
  LandlockPolicyTest() {
    tree_.Mkdir("root");
    tree_.Mkdir("root/sub");
    tree_.Write("root/file", "x");
    tree_.Write("beside", "y");
  }
  void SetUp() override {
    const ErrnoOr<int> abi = sys::LandlockAbi();
    if (!abi.ok() || *abi < 2) GTEST_SKIP() << "the kernel has no Landlock to speak of";
  }
  // Under `options`, with descriptors of the root and of what it is in.
  void Confined(const LandlockOptions& options,
                absl::FunctionRef<void(int root, int outside)> body) const {
    const testing::ChildEnd end = testing::InChild([&] {
      const UniqueFd root = tree_.OpenPath("root"), outside = tree_.OpenPath();
      ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
      const absl::StatusOr<LandlockState> state = LimitFilesTo(root, options);
      ASSERT_TRUE(state.ok()) << state.status();
      EXPECT_TRUE(state->in_force) << state->why_not;
      body(root.get(), outside.get());
    });
    EXPECT_EQ(end.status, 0) << end.stderr_text;
  }
  static int Error(int result) { return result < 0 ? errno : 0; }
  static int Opens(int dir, const char* name, int flags) {
    return Error(openat(dir, name, flags | O_CLOEXEC, 0600));
  }

  const testing::TempTree tree_;
};

TEST_F(LandlockPolicyTest, TheTreeAndNothingBeside) {
  Confined({}, [](int root, int outside) {
    EXPECT_EQ(Opens(root, "file", O_RDWR | O_TRUNC), 0);
    EXPECT_EQ(Opens(root, "new", O_RDWR | O_CREAT | O_EXCL), 0);
    EXPECT_EQ(Error(renameat(root, "file", root, "sub/moved")), 0);
    EXPECT_EQ(Error(linkat(root, "new", root, "sub/linked", 0)), 0);
    EXPECT_EQ(Error(mkdirat(root, "dir", 0700)), 0);
    EXPECT_EQ(Error(symlinkat("anywhere", root, "link")), 0);
    EXPECT_EQ(Error(mknodat(root, "whiteout", S_IFCHR, 0)), 0);
    EXPECT_EQ(Error(unlinkat(root, "new", 0)), 0);

    EXPECT_EQ(Opens(outside, "beside", O_RDONLY), EACCES);
    EXPECT_EQ(Opens(outside, "beside", O_WRONLY), EACCES);
    EXPECT_EQ(Opens(outside, ".", O_RDONLY | O_DIRECTORY), EACCES);
    EXPECT_EQ(Opens(outside, "new", O_RDWR | O_CREAT), EACCES);
    EXPECT_EQ(Error(renameat(root, "sub/moved", outside, "moved")), EACCES);
    EXPECT_EQ(Error(linkat(outside, "beside", root, "linked", 0)), EXDEV);
    EXPECT_EQ(Error(unlinkat(outside, "beside", 0)), EACCES);
    EXPECT_EQ(Error(mkdirat(outside, "dir", 0700)), EACCES);
  });
}

TEST_F(LandlockPolicyTest, ReadOnly) {
  Confined({.read_only = true}, [](int root, int) {
    EXPECT_EQ(Opens(root, "file", O_RDONLY), 0);
    EXPECT_EQ(Opens(root, ".", O_RDONLY | O_DIRECTORY), 0);
    EXPECT_EQ(Opens(root, "file", O_WRONLY), EACCES);
    EXPECT_EQ(Opens(root, "new", O_RDWR | O_CREAT), EACCES);
    EXPECT_EQ(Error(unlinkat(root, "file", 0)), EACCES);
  });
}

TEST_F(LandlockPolicyTest, SpecialFilesOnlyForThoseWhoMakeThem) {
  Confined({}, [](int root, int) {
    EXPECT_EQ(Error(mknodat(root, "fifo", S_IFIFO | 0600, 0)), EACCES);
    EXPECT_EQ(Error(mknodat(root, "socket", S_IFSOCK | 0600, 0)), EACCES);
    EXPECT_EQ(Error(mknodat(root, "block", S_IFBLK | 0600, 0)), EACCES);
  });
  Confined({.make_special_files = true, .make_devices = true}, [](int root, int) {
    EXPECT_EQ(Error(mknodat(root, "fifo", S_IFIFO | 0600, 0)), 0);
    EXPECT_EQ(Error(mknodat(root, "socket", S_IFSOCK | 0600, 0)), 0);
    EXPECT_NE(Error(mknodat(root, "block", S_IFBLK | 0600, 0)), EACCES);
  });
}

TEST_F(LandlockPolicyTest, WhyItIsNotInForce) {
  const auto why_not = [](const LandlockOptions& options) {
    const absl::StatusOr<LandlockState> state = LimitFilesTo(BorrowedFd(), options);
    return state.ok() && !state->in_force ? state->why_not : "in force";
  };
  EXPECT_EQ(why_not({.wanted = false}), "--landlock=off");
  EXPECT_EQ(why_not({.file_handles = true}),
            "files are opened by handle, which have no place in a tree");
}

TEST(LandlockPolicy, WhatTheKernelRefusesIsAnError) {
  const ErrnoOr<int> abi = sys::LandlockAbi();
  if (!abi.ok() || *abi < 2) GTEST_SKIP() << "the kernel has no Landlock to speak of";
  const testing::ChildEnd end = testing::InChild([] {
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EXPECT_FALSE(LimitFilesTo(BorrowedFd(), {}).ok()) << "no root: not served without a wall";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST(LandlockPolicy, NamesOfRights) {
  EXPECT_EQ(absl::StrJoin(LandlockRightNames(sys::kLandlockReadFile | sys::kLandlockIoctlDev), " "),
            "READ_FILE IOCTL_DEV");
  EXPECT_EQ(LandlockRightNames(0xffff).size(), 16u);
}

}  // namespace
}  // namespace gofer::server
