#include "gofer/base/request_gate.h"

namespace gofer {

RequestGate::Counter& RequestGate::CounterOfThread() {
  static std::atomic<size_t> next{0};
  thread_local const size_t mine = next.fetch_add(1, std::memory_order_relaxed) % kCounters;
  return counters_[mine];
}

void RequestGate::WaitOutside(Counter& counter) {
  for (;;) {
    counter.inside.fetch_sub(1, std::memory_order_seq_cst);
    {
      const absl::MutexLock lock(&mu_);
      // Close awaits a condition under mu_: letting go of it makes Close look again.
      mu_.Await(absl::Condition(this, &RequestGate::IsOpen));
    }
    counter.inside.fetch_add(1, std::memory_order_seq_cst);
    if (IsOpen()) return;
  }
}

void RequestGate::Changed() { const absl::MutexLock lock(&mu_); }

bool RequestGate::IsEmpty() const {
  for (const Counter& counter : counters_) {
    if (counter.inside.load(std::memory_order_seq_cst) != 0) return false;
  }
  return true;
}

bool RequestGate::Close(absl::Time deadline) {
  const absl::MutexLock lock(&mu_);
  closers_.fetch_add(1, std::memory_order_seq_cst);
  if (mu_.AwaitWithDeadline(absl::Condition(this, &RequestGate::IsEmpty), deadline)) return true;
  closers_.fetch_sub(1, std::memory_order_seq_cst);
  return false;
}

void RequestGate::Open() {
  const absl::MutexLock lock(&mu_);
  if (!IsOpen()) closers_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace gofer
