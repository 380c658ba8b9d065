#include "lisafs/transport/spin_policy.h"

#include <atomic>

#include "gtest/gtest.h"

namespace lisafs {
namespace {

TEST(SpinPolicy, SeesAtOnceWhatHasChangedAlready) {
  SpinPolicy policy;
  const std::atomic<uint32_t> word{1};
  EXPECT_TRUE(policy.Poll(word, 0));
}

TEST(SpinPolicy, GivesUpOnAPeerThatStaysAway) {
  SpinPolicy policy;
  const std::atomic<uint32_t> word{0};
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(policy.Poll(word, 0));
    policy.Slept();
  }
}

}  // namespace
}  // namespace lisafs
