#include "gofer/sys/tick_clock.h"

#include <time.h>

#include <chrono>
#include <cstdint>
#include <thread>

#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

int64_t MonotonicNs() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

// Between two looks at the clock that enclose it and two that it encloses: that holds however long
// this thread was not running.
TEST(TickClock, AgreesWithTheClock) {
  const TickClock clock = TickClock::Get();
  const int64_t outer_begin = MonotonicNs();
  const uint64_t begin = clock.Now();
  const int64_t inner_begin = MonotonicNs();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const int64_t inner_end = MonotonicNs();
  const auto ns = static_cast<double>(clock.NsSince(begin));
  const int64_t outer_end = MonotonicNs();
  EXPECT_GE(ns, static_cast<double>(inner_end - inner_begin) * 0.995);
  EXPECT_LE(ns, static_cast<double>(outer_end - outer_begin) * 1.005);
}

TEST(TickClock, ABeginThatIsAheadIsNoTimeAgo) {
  const TickClock clock = TickClock::Get();
  EXPECT_EQ(clock.NsSince(clock.Now() + (uint64_t{1} << 40)), 0u);
}

TEST(TickClock, AllThatIsLongIsLong) {
  const TickClock clock = TickClock::Get();
  EXPECT_GT(clock.NsSince(clock.Now() - (uint64_t{1} << 50)), 50'000'000'000u);
}

}  // namespace
}  // namespace gofer::sys
