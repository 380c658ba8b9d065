// Waiting for what another thread, another process or the kernel brings about by itself: threads
// that have been joined and are still in /proc, descriptors that somebody else closes, a process
// that is on its way.
//
//   EXPECT_TRUE(Eventually([&] { return CountThreads() <= before; })) << CountThreads();
//
// A test waits for the event itself where it can be asked for; this is for what can only be looked
// at.

#ifndef TEST_SUPPORT_EVENTUALLY_H_
#define TEST_SUPPORT_EVENTUALLY_H_

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace gofer::testing {

// After this long something does not come about. How long it takes is the machine's business: it
// may have ten times the work that its processors can do.
inline constexpr absl::Duration kPatience = absl::Seconds(60);

// Whether `holds` has become true; it is asked again and again until then.
inline bool Eventually(absl::FunctionRef<bool()> holds) {
  const absl::Time deadline = absl::Now() + kPatience;
  while (!holds()) {
    if (absl::Now() > deadline) return false;
    absl::SleepFor(absl::Milliseconds(1));
  }
  return true;
}

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_EVENTUALLY_H_
