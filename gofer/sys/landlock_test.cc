#include "gofer/sys/landlock.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

class LandlockTest : public ::testing::Test {
 protected:
  LandlockTest() {
    tree_.Mkdir("in");
    tree_.Write("in/file", "x");
    tree_.Write("out", "y");
  }
  void SetUp() override {
    if (!LandlockAbi().ok()) GTEST_SKIP() << "the kernel has no Landlock";
  }
  int Open(absl::string_view name, int flags) const {
    const int fd = open(tree_.At(name).c_str(), flags | O_CLOEXEC, 0600);
    const int error = fd < 0 ? errno : 0;
    if (fd >= 0) close(fd);
    return error;
  }
  // Only what is below "in" can be read.
  void Restrict() const {
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    const UniqueFd in = tree_.OpenPath("in");
    const LandlockTree trees[] = {{.directory = in, .files = kLandlockReadFile}};
    const ErrnoOr<void> applied = ApplyLandlock(
        {.files = kLandlockReadFile | kLandlockWriteFile | kLandlockMakeReg, .trees = trees});
    ASSERT_TRUE(applied.ok()) << applied.error().ToString();
  }

  const testing::TempTree tree_;
};

TEST_F(LandlockTest, OnlyWhatIsNamedBelowATree) {
  const testing::ChildEnd end = testing::InChild([&] {
    Restrict();
    EXPECT_EQ(Open("in/file", O_RDONLY), 0);
    EXPECT_EQ(Open("in/file", O_WRONLY), EACCES);
    EXPECT_EQ(Open("in/new", O_RDONLY | O_CREAT), EACCES);
    EXPECT_EQ(Open("out", O_RDONLY), EACCES);
    EXPECT_EQ(Open("in/../out", O_RDONLY), EACCES);
    EXPECT_EQ(Open("out", O_PATH), 0) << "which Landlock does not look at";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(LandlockTest, WhatIsOpenStaysUsable) {
  const UniqueFd out(open(tree_.At("out").c_str(), O_RDWR | O_CLOEXEC));
  const testing::ChildEnd end = testing::InChild([&] {
    Restrict();
    EXPECT_EQ(pwrite(out.get(), "z", 1, 0), 1);
    EXPECT_EQ(ftruncate(out.get(), 0), 0);
    const UniqueFd memory(memfd_create("m", MFD_CLOEXEC));
    EXPECT_EQ(ftruncate(memory.get(), 4096), 0);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(LandlockTest, BitsThatTheKernelDoesNotKnowAreRefused) {
  const testing::ChildEnd end = testing::InChild([] {
    ASSERT_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    EXPECT_EQ(ApplyLandlock({.files = uint64_t{1} << 62}).error(), Errno(EINVAL));
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::sys
