#include "gofer/sys/spin_policy.h"

#include <cstdint>

#include "gofer/sys/processors.h"
#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

// Time passes by 100 ns with every look at it.
int64_t g_now = 0;
int64_t Tick() { return g_now += 100; }

constexpr int64_t kPacked = 3'000;    // a peer on our own processor is back
constexpr int64_t kApart = 40'000;    // one on another is, both having been asleep
constexpr int64_t kAway = 1'000'000;  // one is that did something else

class SpinPolicyTest : public testing::Test {
 protected:
  void SetUp() override {
    if (ProcessorCount() < 2) GTEST_SKIP() << "needs two processors";
  }

  // Whether it polls for a request that does not come: looks for it at all.
  bool PollsInVain() {
    int looks = 0;
    EXPECT_FALSE(policy_.Poll([&] {
      ++looks;
      return false;
    }));
    return looks > 0;
  }

  // Polls for a request that comes at the second look; whether it was seen.
  bool SeesTheNext() {
    int looks = 0;
    return policy_.Poll([&] { return ++looks == 2; });
  }

  void Sleep(int64_t duration) {
    g_now += duration;
    policy_.Slept();
  }

  SpinPolicy policy_{SpinPolicy::kWakeUp, Tick};
};

TEST_F(SpinPolicyTest, DoesNotPollForAPeerThatItDoesNotKnow) { EXPECT_FALSE(SeesTheNext()); }

TEST_F(SpinPolicyTest, PollsForABusyPeerOnAnotherProcessor) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(SeesTheNext()) << i;
}

TEST_F(SpinPolicyTest, LeavesTheProcessorToAPeerThatSharesIt) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  EXPECT_TRUE(SeesTheNext());
  EXPECT_TRUE(PollsInVain());
  Sleep(kPacked);
  for (int i = 0; i < 300; ++i) {
    EXPECT_FALSE(SeesTheNext()) << i;
    Sleep(kPacked);
  }
}

TEST_F(SpinPolicyTest, DoesNotPollForAPeerThatWasAway) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kAway);
  EXPECT_FALSE(SeesTheNext());
}

TEST_F(SpinPolicyTest, EndsAPollThatIsLongerThanAWakeUp) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  const int64_t before = g_now;
  EXPECT_TRUE(PollsInVain());
  EXPECT_GE(g_now - before, SpinPolicy::kWakeUp);
  EXPECT_LE(g_now - before, SpinPolicy::kWakeUp + 1'000);
}

TEST_F(SpinPolicyTest, PollsLessAndLessOftenInVain) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  // How many waits are let pass between two polls.
  for (const int pause : {1, 2, 4, 8, 16, 32, 64, 128, 128}) {
    EXPECT_TRUE(PollsInVain()) << pause;
    for (int i = 0; i < pause; ++i) {
      Sleep(kApart);
      EXPECT_FALSE(PollsInVain()) << i << " of " << pause;
    }
    Sleep(kApart);
  }
}

TEST_F(SpinPolicyTest, TrustsAPeerAgainThatWasSeen) {
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  EXPECT_TRUE(PollsInVain());
  Sleep(kApart);
  EXPECT_FALSE(PollsInVain());
  Sleep(kApart);
  EXPECT_TRUE(SeesTheNext());
  EXPECT_TRUE(PollsInVain());
  Sleep(kApart);
  EXPECT_FALSE(PollsInVain());  // one wait, as after the first time
  Sleep(kApart);
  EXPECT_TRUE(PollsInVain());
}

}  // namespace
}  // namespace gofer::sys
