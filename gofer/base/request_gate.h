// RequestGate: requests pass it one by one; closing it waits until none is inside, and keeps new
// ones out until it is opened again. So a checkpoint sees a tree that nobody is changing. Several
// may have it closed at the same time, as two guests that migrate have: it is open when none has.
//
//   const RequestGate::Pass pass(gate);   // around one request
//
// Owner:   the server; every way in passes the same one.
// Threads: safe. Passing is one atomic addition, to a counter that few threads share, and one
//          subtraction.

#ifndef GOFER_BASE_REQUEST_GATE_H_
#define GOFER_BASE_REQUEST_GATE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace gofer {

class RequestGate {
 private:
  // On a cache line of its own, so that threads do not slow each other down.
  struct alignas(64) Counter {
    std::atomic<uint32_t> inside{0};
  };

 public:
  // A request inside the gate. Constructing it waits while the gate is closed.
  class [[nodiscard]] Pass {
   public:
    explicit Pass(RequestGate& gate) : gate_(gate), counter_(gate.Enter()) {}
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    ~Pass() { gate_.Leave(counter_); }

   private:
    RequestGate& gate_;
    Counter& counter_;
  };

  // The same for who has something else to do while the gate is closed.
  class [[nodiscard]] TryPass {
   public:
    explicit TryPass(RequestGate& gate) : gate_(gate), counter_(gate.TryEnter()) {}
    TryPass(const TryPass&) = delete;
    TryPass& operator=(const TryPass&) = delete;
    ~TryPass() {
      if (inside()) gate_.Leave(*counter_);
    }
    bool inside() const { return counter_ != nullptr; }

   private:
    RequestGate& gate_;
    Counter* const counter_;
  };

  RequestGate() = default;
  RequestGate(const RequestGate&) = delete;
  RequestGate& operator=(const RequestGate&) = delete;

  // Keeps requests out and waits for those inside. False if some are still inside at the deadline:
  // then the gate is as it was before.
  bool Close(absl::Time deadline) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes back one Close; nothing if there is none.
  void Open() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  static constexpr size_t kCounters = 16;

  Counter& Enter() {
    Counter& counter = CounterOfThread();
    // Sequentially consistent, as is closers_: either this request sees the gate closed, or Close
    // sees this request.
    counter.inside.fetch_add(1, std::memory_order_seq_cst);
    if (!IsOpen()) [[unlikely]]
      WaitOutside(counter);
    return counter;
  }
  // Null: it is closed.
  Counter* TryEnter() {
    Counter& counter = CounterOfThread();
    counter.inside.fetch_add(1, std::memory_order_seq_cst);
    if (IsOpen()) return &counter;
    Leave(counter);
    return nullptr;
  }
  void Leave(Counter& counter) {
    counter.inside.fetch_sub(1, std::memory_order_seq_cst);
    if (!IsOpen()) [[unlikely]]
      Changed();
  }

  Counter& CounterOfThread();
  // Returns with the counter raised and the gate open.
  void WaitOutside(Counter& counter) ABSL_LOCKS_EXCLUDED(mu_);
  // Makes a waiting Close look again.
  void Changed() ABSL_LOCKS_EXCLUDED(mu_);
  bool IsEmpty() const;
  bool IsOpen() const { return closers_.load(std::memory_order_seq_cst) == 0; }

  std::array<Counter, kCounters> counters_;
  std::atomic<uint32_t> closers_{0};  // those who have it closed; changed under mu_
  absl::Mutex mu_;
};

}  // namespace gofer

#endif  // GOFER_BASE_REQUEST_GATE_H_
