// SpinPolicy: whether, and for how long, a thread that waits for its peer's next request polls
//             before it sleeps.
//
// Being awake when the request arrives saves a wake-up across processors, most of a round trip.
// Polling in vain burns what the peer could use. So each channel (a window, a ring) learns how soon
// its peer comes back, and polls if that is soon enough, never for longer than a wake-up costs; and
// not at all where the machine has one processor, where as many threads poll already as it can
// spare, or where on a small machine another channel is busy too. After a poll in vain (the peer
// may be waiting for this very processor, or others want it) some requests pass before the next,
// twice as many each time.
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
  // Polls until `arrived` says true; false if the caller had better sleep.
  bool Poll(absl::FunctionRef<bool()> arrived);
  // The caller slept and its turn has come.
  void Slept();

 private:
  bool MayPoll(int64_t now) const;
  void Learn(int64_t gap);

  int64_t waiting_since_ = 0;
  // How soon the peer comes back, a moving average; optimistic at first.
  int64_t expected_gap_ = 0;
  // Waits left in which polling is not tried, and how many the next poll in vain costs.
  uint32_t pause_ = 0;
  uint32_t next_pause_ = 1;
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_SPIN_POLICY_H_
