#include "gofer/sys/spin_policy.h"

#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

TEST(SpinPolicy, SeesAtOnceWhatHasChangedAlready) {
  SpinPolicy policy;
  EXPECT_TRUE(policy.Poll([] { return true; }));
}

TEST(SpinPolicy, GivesUpOnAPeerThatStaysAway) {
  SpinPolicy policy;
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(policy.Poll([] { return false; }));
    policy.Slept();
  }
}

}  // namespace
}  // namespace gofer::sys
