// FullFence: orders stores, and what system calls have done, before later loads, towards the other
// end of shared memory too; the one order that acquire and release do not give.
//
// Threads: safe. Source: spec/vhost-user-fs.md s.12 and 14.

#ifndef GOFER_BASE_FULL_FENCE_H_
#define GOFER_BASE_FULL_FENCE_H_

#include <atomic>

namespace gofer {

inline void FullFence() {
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"  // what it orders is seen by the other end alone
#endif
  std::atomic_thread_fence(std::memory_order_seq_cst);
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
}

}  // namespace gofer

#endif  // GOFER_BASE_FULL_FENCE_H_
