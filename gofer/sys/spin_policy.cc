#include "gofer/sys/spin_policy.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "gofer/sys/processors.h"

namespace gofer::sys {
namespace {

// Who was back sooner than a wake-up across processors takes ran on our processor.
constexpr int64_t kSameProcessor = 6'000;
// And who takes longer than two such wake-ups has other things to do.
constexpr int64_t kElsewhere = 80'000;
// Two looks at the clock further apart than this: the thread was not running in between.
constexpr int64_t kInterrupted = 12'000;
// Looks for it between two looks at the clock.
constexpr int kLooksPerClock = 32;
constexpr uint32_t kMaxPause = 128;

void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int Processors() {
  static const int count = ProcessorCount();
  return count;
}

// Process-wide: how many poll.
std::atomic<int> g_polling{0};

bool ProcessorToSpare() { return g_polling.load(std::memory_order_relaxed) < Processors() / 2; }

}  // namespace

int64_t SpinPolicy::MonotonicNow() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

bool SpinPolicy::Poll(absl::FunctionRef<bool()> arrived) {
  int64_t now = now_();
  waiting_since_ = now;
  if (!apart_) return false;
  if (pause_ > 0) {
    --pause_;
    return false;
  }
  if (!ProcessorToSpare()) return false;
  const int64_t deadline = now + max_poll_;
  g_polling.fetch_add(1, std::memory_order_relaxed);
  bool has_arrived = false;
  bool interrupted = false;
  // The clock is read once in so many looks, and not at all between seeing the request and serving
  // it: that is where every nanosecond is the peer's.
  while (!has_arrived && !interrupted && now < deadline) {
    for (int i = 0; i < kLooksPerClock && !has_arrived; ++i) {
      Relax();
      has_arrived = arrived();
    }
    if (has_arrived) break;
    const int64_t later = now_();
    interrupted = later - now > kInterrupted;
    now = later;
  }
  g_polling.fetch_sub(1, std::memory_order_relaxed);
  if (has_arrived) {
    next_pause_ = 1;
  } else {
    // In vain. The peer may be waiting for this very processor, or others want it: each time it
    // happens again, twice as many requests pass before the next try.
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kMaxPause);
  }
  return has_arrived;
}

void SpinPolicy::Slept() {
  const int64_t gap = now_() - waiting_since_;
  apart_ = kSameProcessor <= gap && gap < kElsewhere;
}

}  // namespace gofer::sys
