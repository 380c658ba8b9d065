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

class RequestGateTest : public ::testing::Test {
 protected:
  // On the heap with its test: on the stack, g++ 12 with the address sanitizer gives it less than the
  // alignment that it asks for (GCC bug 110027).
  RequestGate gate_;
};

TEST_F(RequestGateTest, AnEmptyGateClosesAndOpens) {
  EXPECT_TRUE(gate_.Close(Late()));
  gate_.Open();
  const RequestGate::Pass pass(gate_);
}

TEST_F(RequestGateTest, ARequestInsideHoldsItOpen) {
  {
    const RequestGate::Pass pass(gate_);
    EXPECT_FALSE(gate_.Close(Soon()));
    const RequestGate::Pass another(gate_);  // it is open again
  }
  EXPECT_TRUE(gate_.Close(Late()));
}

TEST_F(RequestGateTest, CloseWaitsForTheRequestInside) {
  absl::Notification inside;
  absl::Notification leave;
  std::thread request([&] {
    const RequestGate::Pass pass(gate_);
    inside.Notify();
    leave.WaitForNotification();
  });
  inside.WaitForNotification();
  std::thread leaver([&] { leave.Notify(); });
  EXPECT_TRUE(gate_.Close(Late()));
  leaver.join();
  request.join();
}

TEST_F(RequestGateTest, ARequestOutsideWaitsForOpen) {
  ASSERT_TRUE(gate_.Close(Late()));
  std::atomic<bool> passed{false};
  std::thread request([&] {
    const RequestGate::Pass pass(gate_);
    passed = true;
  });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_FALSE(passed);
  gate_.Open();
  request.join();
  EXPECT_TRUE(passed);
}

TEST_F(RequestGateTest, IsOpenWhenNobodyHasItClosed) {
  ASSERT_TRUE(gate_.Close(Late()));
  ASSERT_TRUE(gate_.Close(Late()));
  gate_.Open();
  EXPECT_FALSE(RequestGate::TryPass(gate_).inside()) << "the other has it closed";
  gate_.Open();
  EXPECT_TRUE(RequestGate::TryPass(gate_).inside());
  gate_.Open();  // once too often
  EXPECT_TRUE(RequestGate::TryPass(gate_).inside());
  ASSERT_TRUE(gate_.Close(Late()));
  EXPECT_FALSE(RequestGate::TryPass(gate_).inside());
}

// While the gate is closed nobody is inside, whatever the threads do.
TEST_F(RequestGateTest, NobodyIsInsideAClosedGate) {
  std::atomic<bool> stop{false};
  std::atomic<int> inside{0};
  std::vector<std::thread> requests;
  for (int i = 0; i < 4; ++i) {
    requests.emplace_back([&] {
      while (!stop.load(std::memory_order_relaxed)) {
        const RequestGate::Pass pass(gate_);
        inside.fetch_add(1);
        inside.fetch_sub(1);
      }
    });
  }
  const auto close_and_open = [&] {
    for (int round = 0; round < 2000; ++round) {
      ASSERT_TRUE(gate_.Close(Late()));
      ASSERT_EQ(inside.load(), 0) << "round " << round;
      gate_.Open();
    }
  };
  std::thread another(close_and_open);
  close_and_open();
  another.join();
  stop = true;
  for (std::thread& request : requests) request.join();
}

TEST_F(RequestGateTest, WhoTriesDoesNotWait) {
  {
    const RequestGate::TryPass pass(gate_);
    EXPECT_TRUE(pass.inside());
    EXPECT_FALSE(gate_.Close(absl::Now() + absl::Milliseconds(1))) << "somebody is inside";
  }
  ASSERT_TRUE(gate_.Close(absl::InfiniteFuture()));
  EXPECT_FALSE(RequestGate::TryPass(gate_).inside());
  gate_.Open();
  EXPECT_TRUE(RequestGate::TryPass(gate_).inside());
}

}  // namespace
}  // namespace gofer
