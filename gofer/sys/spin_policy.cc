#include "gofer/sys/spin_policy.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "gofer/sys/processors.h"

namespace gofer::sys {
namespace {

// About what waking a thread on another processor costs; polling for longer cannot pay.
constexpr int64_t kMaxPoll = 20'000;
// And what a client that was asleep when it was answered needs to come back, however quick it is
// otherwise: a poll that ends before that has all of the cost and none of the gain.
constexpr int64_t kMinPoll = 12'000;
// Two looks at the clock further apart than this: the thread was not running in between.
constexpr int64_t kInterrupted = 12'000;
// Looks for it between two looks at the clock, and about what one takes.
constexpr int kLooksPerClock = 32;
constexpr int64_t kLook = 50;
// Another channel that was served so recently counts as busy.
constexpr int64_t kBusy = 200'000;
constexpr uint32_t kMaxPause = 128;
// Processors up to which only one busy channel may poll.
constexpr int kSmallMachine = 3;

int64_t Now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

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

// Process-wide: who polls, and whether more than one channel is in use.
std::atomic<int> g_polling{0};
std::atomic<const SpinPolicy*> g_last_served{nullptr};
std::atomic<int64_t> g_last_change{0};

}  // namespace

bool SpinPolicy::MayPoll(int64_t now) const {
  const int processors = Processors();
  if (processors < 2) return false;
  if (processors <= kSmallMachine && now - g_last_change.load(std::memory_order_relaxed) < kBusy)
    return false;
  return g_polling.load(std::memory_order_relaxed) < std::max(1, processors / 2);
}

void SpinPolicy::Learn(int64_t gap) {
  // A long silence says nothing about the next burst: it counts as just too long.
  expected_gap_ += (std::min(gap, 2 * kMaxPoll) - expected_gap_) / 4;
}

bool SpinPolicy::Poll(absl::FunctionRef<bool()> arrived) {
  if (arrived()) return true;
  int64_t now = Now();
  waiting_since_ = now;
  if (g_last_served.load(std::memory_order_relaxed) != this) {
    g_last_served.store(this, std::memory_order_relaxed);
    g_last_change.store(now, std::memory_order_relaxed);
  }
  if (pause_ > 0) {
    --pause_;
    return false;
  }
  if (expected_gap_ > kMaxPoll || !MayPoll(now)) return false;
  const int64_t deadline = now + std::clamp(2 * expected_gap_, kMinPoll, kMaxPoll);
  g_polling.fetch_add(1, std::memory_order_relaxed);
  bool has_arrived = false;
  bool interrupted = false;
  int64_t looks = 0;
  // The clock is read once in so many looks, and not at all between seeing the request and serving
  // it: that is where every nanosecond is the peer's.
  while (!has_arrived && !interrupted && now < deadline) {
    for (int i = 0; i < kLooksPerClock && !has_arrived; ++i, ++looks) {
      Relax();
      has_arrived = arrived();
    }
    if (has_arrived) break;
    const int64_t later = Now();
    interrupted = later - now > kInterrupted;
    now = later;
  }
  g_polling.fetch_sub(1, std::memory_order_relaxed);
  if (has_arrived) {
    Learn(looks * kLook);
    next_pause_ = 1;
  } else {
    // In vain. The peer may be waiting for this very processor, or others want it: each time it
    // happens again, twice as many requests pass before the next try.
    pause_ = next_pause_;
    next_pause_ = std::min(2 * next_pause_, kMaxPause);
  }
  return has_arrived;
}

void SpinPolicy::Slept() { Learn(Now() - waiting_since_); }

}  // namespace gofer::sys
