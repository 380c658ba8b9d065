// Stopwatch: how long something takes of the time that this machine has for the test. It counts the
// naps that a thread of its own has taken meanwhile: on a machine with nothing else to do that is
// the time that passes; on one with ten times the work that its processors can do it goes slower,
// as all that is measured does. So a bound means the same on both.
//
//   const Stopwatch watch;
//   ...
//   EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
//
// For upper bounds only, of half a second and more.
//
// Owner:   the thread, which ends with this. Threads: safe.

#ifndef TEST_SUPPORT_STOPWATCH_H_
#define TEST_SUPPORT_STOPWATCH_H_

#include <atomic>
#include <cstdint>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace gofer::testing {

class Stopwatch {
 public:
  Stopwatch();
  ~Stopwatch();
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  absl::Duration Elapsed() const;

 private:
  absl::Notification done_;
  std::atomic<int64_t> naps_{0};
  std::thread thread_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_STOPWATCH_H_
