// Slot: a request of the guest in the hands of the device, from the ring and back to it; used again
// and again. SlotPool: those that are free, and how many there may be: what bounds the memory that
// a guest can make us hold, however many rings it has and however large they are.
//
// Owner:   the SlotPool, for good; it dies after every queue has been stopped.
// Threads: a Slot: one at a time. The pool: safe.
// Locks:   mu_ is a leaf.
// Source:  spec/security.md s.5.

#ifndef VHOST_VIRTIO_FS_SLOT_H_
#define VHOST_VIRTIO_FS_SLOT_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/request.h"
#include "vhost/virtqueue/descriptor_chain.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::virtio_fs {

class SlotPool;

class Slot final : public fuse::Request {
 public:
  explicit Slot(SlotPool& home) : home_(home) {}

  // What VirtQueue::Take has put into `chain` becomes a request of that queue.
  void Begin(vhost::VirtQueue& queue) {
    queue_ = &queue;
    in = chain.in();
    out = chain.out();
  }
  // Gives the request back to the queue, notifies the guest, and frees the slot: it may be another
  // request's before this has returned.
  void Complete(size_t written) override;

  vhost::DescriptorChain chain;
  Slot* next = nullptr;  // in a WorkerPool's queue

 private:
  SlotPool& home_;
  vhost::VirtQueue* queue_ = nullptr;
};

class SlotPool {
 public:
  // Half of the 512 MiB that may be resident with everything at its limit: 32 KiB each, if each
  // request is of as many pieces as it may be. A real guest has a few hundred in flight.
  static constexpr size_t kMaxSlots = 8192;

  explicit SlotPool(size_t max_slots = kMaxSlots) : max_slots_(max_slots) {}
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;

  // Null: all are in use.
  Slot* Get() ABSL_LOCKS_EXCLUDED(mu_);
  void Put(Slot* slot) ABSL_LOCKS_EXCLUDED(mu_);

  size_t max_slots() const { return max_slots_; }
  // Those that are not free: what was taken from a ring, and a few that wait for what comes next.
  size_t in_use() const ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return all_.size() - free_.size();
  }

 private:
  const size_t max_slots_;
  mutable absl::Mutex mu_;
  std::vector<std::unique_ptr<Slot>> all_ ABSL_GUARDED_BY(mu_);
  std::vector<Slot*> free_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_SLOT_H_
