#include "gofer/base/request_gate.h"

#include <atomic>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"

namespace gofer {
namespace {

absl::Time Soon() { return absl::Now() + absl::Milliseconds(20); }
absl::Time Late() { return absl::Now() + absl::Seconds(60); }

TEST(RequestGateTest, AnEmptyGateClosesAndOpens) {
  RequestGate gate;
  EXPECT_TRUE(gate.Close(Late()));
  gate.Open();
  const RequestGate::Pass pass(gate);
}

TEST(RequestGateTest, ARequestInsideHoldsItOpen) {
  RequestGate gate;
  {
    const RequestGate::Pass pass(gate);
    EXPECT_FALSE(gate.Close(Soon()));
    const RequestGate::Pass another(gate);  // it is open again
  }
  EXPECT_TRUE(gate.Close(Late()));
}

TEST(RequestGateTest, CloseWaitsForTheRequestInside) {
  RequestGate gate;
  absl::Notification inside;
  absl::Notification leave;
  std::thread request([&] {
    const RequestGate::Pass pass(gate);
    inside.Notify();
    leave.WaitForNotification();
  });
  inside.WaitForNotification();
  std::thread leaver([&] { leave.Notify(); });
  EXPECT_TRUE(gate.Close(Late()));
  leaver.join();
  request.join();
}

TEST(RequestGateTest, ARequestOutsideWaitsForOpen) {
  RequestGate gate;
  ASSERT_TRUE(gate.Close(Late()));
  std::atomic<bool> passed{false};
  std::thread request([&] {
    const RequestGate::Pass pass(gate);
    passed = true;
  });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(passed);
  gate.Open();
  request.join();
  EXPECT_TRUE(passed);
}

TEST(RequestGateTest, IsOpenWhenNobodyHasItClosed) {
  RequestGate gate;
  ASSERT_TRUE(gate.Close(Late()));
  ASSERT_TRUE(gate.Close(Late()));
  gate.Open();
  EXPECT_FALSE(RequestGate::TryPass(gate).inside()) << "the other has it closed";
  gate.Open();
  EXPECT_TRUE(RequestGate::TryPass(gate).inside());
  gate.Open();  // once too often
  EXPECT_TRUE(RequestGate::TryPass(gate).inside());
  ASSERT_TRUE(gate.Close(Late()));
  EXPECT_FALSE(RequestGate::TryPass(gate).inside());
}

// While the gate is closed nobody is inside, whatever the threads do.
TEST(RequestGateTest, NobodyIsInsideAClosedGate) {
  RequestGate gate;
  std::atomic<bool> stop{false};
  std::atomic<int> inside{0};
  std::vector<std::thread> requests;
  for (int i = 0; i < 4; ++i) {
    requests.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const RequestGate::Pass pass(gate);
        inside.fetch_add(1);
        inside.fetch_sub(1);
      }
    });
  }
  const auto close_and_open = [&] {
    for (int round = 0; round < 2000; ++round) {
      ASSERT_TRUE(gate.Close(Late()));
      ASSERT_EQ(inside.load(), 0) << "round " << round;
      gate.Open();
    }
  };
  std::thread another(close_and_open);
  close_and_open();
  another.join();
  stop = true;
  for (std::thread& request : requests) request.join();
}

TEST(RequestGateTest, WhoTriesDoesNotWait) {
  RequestGate gate;
  {
    const RequestGate::TryPass pass(gate);
    EXPECT_TRUE(pass.inside());
    EXPECT_FALSE(gate.Close(absl::Now() + absl::Milliseconds(1))) << "somebody is inside";
  }
  ASSERT_TRUE(gate.Close(absl::InfiniteFuture()));
  EXPECT_FALSE(RequestGate::TryPass(gate).inside());
  gate.Open();
  EXPECT_TRUE(RequestGate::TryPass(gate).inside());
}

}  // namespace
}  // namespace gofer
