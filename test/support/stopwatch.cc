#include "test/support/stopwatch.h"

namespace gofer::testing {
namespace {

// Long beside what a timer is late by on a machine with nothing to do.
constexpr absl::Duration kNap = absl::Milliseconds(10);

}  // namespace

Stopwatch::Stopwatch()
    : thread_([this] {
        while (!done_.WaitForNotificationWithTimeout(kNap)) ++naps_;
      }) {}

Stopwatch::~Stopwatch() {
  done_.Notify();
  thread_.join();
}

absl::Duration Stopwatch::Elapsed() const { return naps_.load() * kNap; }

}  // namespace gofer::testing
