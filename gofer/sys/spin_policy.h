// SpinPolicy: whether, and for how long, a thread that waits for its peer's next request polls
//             before it sleeps.
//
// Being awake when the request arrives saves a wake-up across processors, most of a round trip: a
// client on another processor is answered before it has gone to sleep. Where the scheduler has both
// ends on one processor it is the other way round: the poller keeps its peer from running. So each
// channel (a window, a ring) judges by the last time that it slept: who was back sooner than any
// wake-up across processors takes was on ours, who stayed away for long is not in a hurry, and only
// for the rest it polls, never for much longer than the wake-up would cost; and not at all where the
// machine has one processor or half of them poll already. After a poll in vain some requests pass
// before the next, twice as many each time.
//
// Owner:   one per channel. Threads: used by the thread that serves the channel; what is shared
//          between channels is process-wide and atomic.
// Units:   nanoseconds of the monotonic clock.

#ifndef GOFER_SYS_SPIN_POLICY_H_
#define GOFER_SYS_SPIN_POLICY_H_

#include <cstdint>

#include "absl/functional/function_ref.h"

namespace gofer::sys {

class SpinPolicy {
 public:
  // About what waking us on another processor costs, and what a client needs to come back that was
  // asleep when it was answered, however quick it is otherwise.
  static constexpr int64_t kWakeUp = 20'000;
  // Nanoseconds from any beginning; another one than the monotonic clock only in tests.
  using Clock = int64_t (*)();
  explicit SpinPolicy(int64_t max_poll = kWakeUp, Clock now = MonotonicNow)
      : max_poll_(max_poll), now_(now) {}

  // The caller has looked and nothing is there. Polls until `arrived` says true; false if the caller
  // had better sleep.
  bool Poll(absl::FunctionRef<bool()> arrived);
  // The caller slept and its turn has come.
  void Slept();

 private:
  static int64_t MonotonicNow();

  const int64_t max_poll_;
  const Clock now_;
  int64_t waiting_since_ = 0;
  // By how long the last sleep was: the peer is busy with us, from another processor.
  bool apart_ = false;
  // Waits left in which polling is not tried, and how many the next poll in vain costs.
  uint32_t pause_ = 0;
  uint32_t next_pause_ = 1;
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_SPIN_POLICY_H_
