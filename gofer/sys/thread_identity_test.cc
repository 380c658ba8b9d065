#include "gofer/sys/thread_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"

namespace gofer::sys {
namespace {

using testing::ErrorOf;
using testing::Must;

constexpr uint32_t kSomebody = 65534;

class ScopedIdentityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to become somebody else";
  }
};

TEST_F(ScopedIdentityTest, IsTakenAndPutBack) {
  {
    const ScopedIdentity somebody =
        Must(ScopedIdentity::Take({.uid = kSomebody, .gid = kSomebody}));
    EXPECT_EQ(geteuid(), kSomebody);
    EXPECT_EQ(getegid(), kSomebody);
  }
  EXPECT_EQ(geteuid(), 0u);
  EXPECT_EQ(getegid(), 0u);
}

// Nobody is served with the wrong identity.
TEST_F(ScopedIdentityTest, WhatCannotBePutBackEndsTheProcess) {
  const testing::ChildEnd end = testing::InChild([] {
    const ScopedIdentity somebody = Must(ScopedIdentity::Take({.uid = kSomebody}));
    // What is left allows no way back.
    PCHECK(syscall(SYS_setresuid, kSomebody, kSomebody, kSomebody) == 0);
  });
  EXPECT_EQ(end.signal, SIGABRT) << end.stderr_text;
}

// The mode of a file that this thread makes with 0666, as the file system has it.
uint32_t ModeOfNewFile(const testing::TempTree& tree, const std::string& name) {
  const UniqueFd file(open(tree.At(name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
  struct stat made;
  PCHECK(fstat(file.get(), &made) == 0);
  return made.st_mode & 07777;
}

// A thread begins with the umask of the one that began it, which changes its own meanwhile.
TEST(ScopedUmask, OfNoneIsNotThatOfWhoBeganTheThread) {
  const testing::TempTree tree;
  std::thread([&] {
    const ScopedUmask mine = Must(ScopedUmask::Take(077));
    EXPECT_EQ(ModeOfNewFile(tree, "mine"), 0600u);
    std::thread([&] {
      const ScopedUmask none = Must(ScopedUmask::Take(0));
      EXPECT_EQ(ModeOfNewFile(tree, "none"), 0666u);
    }).join();
    EXPECT_EQ(ModeOfNewFile(tree, "mine still"), 0600u);
  }).join();
}

TEST(ChangeOwnDirectory, IsOfThisThreadAlone) {
  const testing::TempTree tree;
  tree.Mkdir("a");
  tree.Mkdir("b");
  const std::filesystem::path before = std::filesystem::current_path();
  std::thread([&] {
    EXPECT_EQ(ErrorOf(ChangeOwnDirectory(tree.OpenPath("a"))), 0);
    std::thread([&] {
      EXPECT_EQ(std::filesystem::current_path().filename(), "a") << "where it begins";
      EXPECT_EQ(ErrorOf(ChangeOwnDirectory(tree.OpenPath("b"))), 0);
      EXPECT_EQ(std::filesystem::current_path().filename(), "b");
    }).join();
    EXPECT_EQ(std::filesystem::current_path().filename(), "a");
    EXPECT_EQ(ErrorOf(ChangeOwnDirectory(UniqueFd())), EBADF);
    EXPECT_EQ(std::filesystem::current_path().filename(), "a");
  }).join();
  EXPECT_EQ(std::filesystem::current_path(), before);
}

}  // namespace
}  // namespace gofer::sys
