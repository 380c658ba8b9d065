#include "lisafs/transport/packet_window.h"

#include <cstring>
#include <thread>
#include <vector>

#include "gofer/sys/futex.h"
#include "gtest/gtest.h"

namespace lisafs {
namespace {

class PacketWindowTest : public ::testing::Test {
 protected:
  std::atomic<uint32_t>& Word(size_t offset) {
    return *reinterpret_cast<std::atomic<uint32_t>*>(memory_.data() + offset);
  }
  std::atomic<uint32_t>& State() { return Word(0); }
  std::atomic<uint32_t>& DataLen() { return Word(4); }

  alignas(64) std::array<std::byte, 4096> memory_{};
  PacketWindow window_{memory_};
  gofer::sys::SpinPolicy spin_;
};

TEST_F(PacketWindowTest, OurTurnIsTaken) {
  DataLen() = 12;
  State() = 1;
  EXPECT_EQ(window_.Wait(spin_), PacketWindow::Turn::kOurs);
  EXPECT_EQ(window_.ReadDataLen(), 12u);
  EXPECT_TRUE(window_.HandOver(8));
  EXPECT_EQ(State(), 0u);
  EXPECT_EQ(DataLen(), 8u);
}

TEST_F(PacketWindowTest, DatagramsStandBehindThePacketHeader) {
  EXPECT_EQ(window_.writable().data(), memory_.data() + 16);
  EXPECT_EQ(window_.datagram().size(), memory_.size() - 16);
}

TEST_F(PacketWindowTest, ShutDownIsSeenAndRefusesTheHandOver) {
  State() = 2;
  EXPECT_EQ(window_.Wait(spin_), PacketWindow::Turn::kShutDown);
  EXPECT_FALSE(window_.HandOver(4));
  EXPECT_EQ(State(), 2u);
}

TEST_F(PacketWindowTest, AStateThatIsNoneBreaksIt) {
  for (const uint32_t state : {3u, 7u, 0xffffffffu}) {
    State() = state;
    EXPECT_EQ(window_.Wait(spin_), PacketWindow::Turn::kBroken);
    EXPECT_FALSE(window_.HandOver(4));
  }
}

TEST_F(PacketWindowTest, AHandOverOutOfTurnIsRefused) {
  State() = 0;
  EXPECT_FALSE(window_.HandOver(4));
}

TEST_F(PacketWindowTest, ASleeperIsWokenByItsTurnAndByShutDown) {
  for (const uint32_t state : {1u, 2u}) {
    State() = 0;
    PacketWindow::Turn turn = PacketWindow::Turn::kBroken;
    std::thread waiter([&] { turn = window_.Wait(spin_); });
    if (state == 2) {
      window_.ShutDown();
    } else {
      State() = state;
      gofer::sys::FutexWake(State(), 1);
    }
    waiter.join();
    EXPECT_EQ(turn, state == 1 ? PacketWindow::Turn::kOurs : PacketWindow::Turn::kShutDown);
  }
}

// A wake-up without a change of state is none.
TEST_F(PacketWindowTest, SpuriousWakeUpsAreSleptThrough) {
  std::atomic<bool> done{false};
  std::thread waiter([&] {
    EXPECT_EQ(window_.Wait(spin_), PacketWindow::Turn::kOurs);
    done = true;
  });
  for (int i = 0; i < 100; ++i) {
    gofer::sys::FutexWake(State(), 1);
    EXPECT_FALSE(done);
    std::this_thread::yield();
  }
  State() = 1;
  gofer::sys::FutexWake(State(), 1);
  waiter.join();
}

}  // namespace
}  // namespace lisafs
