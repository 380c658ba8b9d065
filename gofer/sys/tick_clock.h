// TickClock: how long something took, for what happens so often that reading the clock would show.
//
//   const TickClock clock = TickClock::Get();
//   const uint64_t begin = clock.Now();
//   ...
//   const uint64_t ns = clock.NsSince(begin);
//
// On x86-64 a tick is one of the processor's time stamp counter, which takes a third of the time of
// the clock, where the processor says that it runs at one rate, whatever the processor does
// (invariant TSC). Its rate is measured against the monotonic clock once. Elsewhere a tick is a
// nanosecond of that clock.
//
// A duration is right to a thousandth. Where a thread has moved to a processor whose counter is
// behind, which no such machine that Linux trusts has, it is 0.
//
// Threads: values, safe to copy. Errors: none. Units: ticks, and nanoseconds.
// Source:  Intel SDM vol. 3 s.18.17.1, AMD APM vol. 3 CPUID Fn8000_0007 EDX[8]; clock_gettime(2).

#ifndef GOFER_SYS_TICK_CLOCK_H_
#define GOFER_SYS_TICK_CLOCK_H_

#include <time.h>

#include <algorithm>
#include <cstdint>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace gofer::sys {

class TickClock {
 public:
  // The first call takes a hundred microseconds.
  static TickClock Get();

  uint64_t Now() const {
#if defined(__x86_64__)
    if (has_counter_) [[likely]]
      return __rdtsc();
#endif
    return MonotonicNs();
  }
  uint64_t NsSince(uint64_t begin) const {
    const auto ticks = static_cast<int64_t>(Now() - begin);
    return (static_cast<uint64_t>(std::clamp<int64_t>(ticks, 0, kMaxTicks)) * ns_per_tick_) >>
           kFractionBits;
  }
  bool has_counter() const { return has_counter_; }

 private:
  // Of ns_per_tick_, a fixed-point number. With it, kMaxTicks are some minutes, and their product
  // with any rate of a real counter has 64 bits.
  static constexpr int kFractionBits = 24;
  static constexpr int64_t kMaxTicks = int64_t{1} << 39;

  TickClock() = default;
  static TickClock Calibrated();
  static uint64_t MonotonicNs() {
    struct timespec now;
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }

  bool has_counter_ = false;
  uint64_t ns_per_tick_ = uint64_t{1} << kFractionBits;
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_TICK_CLOCK_H_
