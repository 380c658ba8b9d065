#include "gofer/sys/tick_clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gofer::sys {
namespace {

#if defined(__x86_64__)
// Against an error of some ten nanoseconds at either end.
constexpr uint64_t kCalibrationNs = 100'000;
// What a counter's rate can be; else it is no such counter.
constexpr double kMinNsPerTick = 0.1;
constexpr double kMaxNsPerTick = 10;

bool HasInvariantCounter() {
  constexpr unsigned kPowerManagement = 0x80000007;
  constexpr unsigned kInvariant = 1u << 8;
  unsigned eax, ebx, ecx, edx;
  return __get_cpuid(kPowerManagement, &eax, &ebx, &ecx, &edx) != 0 && (edx & kInvariant) != 0;
}
#endif

}  // namespace

TickClock TickClock::Calibrated() {
  TickClock clock;
#if defined(__x86_64__)
  if (!HasInvariantCounter()) return clock;
  struct Reading {
    uint64_t ns;
    uint64_t ticks;
  };
  // Of a few the one for which the two were read closest together: no interrupt came in between.
  const auto read = [] {
    Reading best = {};
    uint64_t shortest = UINT64_MAX;
    for (int i = 0; i < 4; ++i) {
      const uint64_t before = __rdtsc();
      const uint64_t ns = MonotonicNs();
      const uint64_t after = __rdtsc();
      if (after - before >= shortest) continue;
      shortest = after - before;
      best = {.ns = ns, .ticks = before + shortest / 2};
    }
    return best;
  };
  const Reading begin = read();
  Reading end = read();
  while (end.ns - begin.ns < kCalibrationNs) end = read();
  if (end.ticks <= begin.ticks) return clock;
  const double rate =
      static_cast<double>(end.ns - begin.ns) / static_cast<double>(end.ticks - begin.ticks);
  if (rate < kMinNsPerTick || rate > kMaxNsPerTick) return clock;
  clock.has_counter_ = true;
  clock.ns_per_tick_ = static_cast<uint64_t>(rate * (1 << kFractionBits));
#endif
  return clock;
}

TickClock TickClock::Get() {
  static const TickClock clock = Calibrated();
  return clock;
}

}  // namespace gofer::sys
