#include "gofer/sys/thread_identity.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/results.h"

namespace gofer::sys {
namespace {

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

}  // namespace
}  // namespace gofer::sys
