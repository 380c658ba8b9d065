// VirtQueue: one split ring, from the device's side. Takes requests off it, gives them back, and
// knows when the other side wants to hear of it.
//
// A life: Start -> Resume -> (Take -> serve -> Complete -> Notify)* -> Halt -> WaitIdle -> Stop.
// Whoever takes sleeps only after ArmKicks has said that there is nothing:
//
//   for (;;) {
//     while ((n = queue.Take(slots)) > 0) { Complete each, or give it to a worker; Notify; }
//     if (queue.ArmKicks()) wait for the kick descriptor;
//   }
//
// Owner:   the backend; outlives every DescriptorChain it has filled (WaitIdle).
// Threads: three sides, each with a lock of its own, so that they rarely meet:
//            Take, HasWork, ArmKicks, DisarmKicks   the thread that serves the queue
//            Complete                               that thread and its workers, any number
//            Notify                                 whoever has completed something
//            everything else                        the backend's control thread, at any time
// Locks:   take_mu_ > notify_mu_ > publish_mu_. Nothing is waited for under them but the call
//          descriptor's write.
// Errors:  a chain that makes no sense is handed out with its fault; indices that make no sense
//          break the queue: it takes nothing more until the next Start, and says so on the error
//          descriptor. Nothing the guest writes is ever fatal.
// Source:  VIRTIO 1.2 s.2.7; spec/vhost-user-fs.md s.7, 9, 11 to 14.

#ifndef VHOST_VIRTQUEUE_VIRT_QUEUE_H_
#define VHOST_VIRTQUEUE_VIRT_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/event_fd.h"
#include "vhost/memory/dirty_log.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/descriptor_chain.h"
#include "vhost/virtqueue/inflight_region.h"
#include "vhost/virtqueue/split_ring.h"

namespace gofer::vhost {

// What SET_VRING_NUM, SET_VRING_ADDR and SET_FEATURES say of a ring.
struct RingConfig {
  uint32_t size = 0;        // a power of two, up to kMaxRingSize
  RingAddresses addresses;  // the front-end's
  bool event_idx = false;   // EVENT_IDX was negotiated
};

// A request to give back: the first `written` bytes of chain->out() are the answer.
struct Completion {
  DescriptorChain* chain;
  uint32_t written;
};

// What must survive, when the queue is idle.
struct QueueState {
  uint16_t next_available = 0;
  uint16_t used = 0;
};

// A table of memory and how many requests are in it: VirtQueue's own.
struct MemoryUse;

class VirtQueue {
 public:
  struct Counters {
    uint64_t chains = 0;     // taken
    uint64_t malformed = 0;  // of those, with a fault
    uint64_t calls = 0;      // times that the guest was notified
  };

  // `index` is its number among the device's queues, for messages.
  explicit VirtQueue(uint32_t index);
  // Nothing may be outstanding.
  ~VirtQueue();

  // ---- The thread that serves it

  // Fills free slots with the next requests, in the guest's order, and says how many. 0: there is
  // nothing, or the queue is halted, stopped or broken.
  size_t Take(std::span<DescriptorChain* const> slots) ABSL_LOCKS_EXCLUDED(take_mu_);
  // Whether Take would find something. For polling.
  bool HasWork() ABSL_LOCKS_EXCLUDED(take_mu_);
  // Asks the guest for a kick when it adds something. False: it has added something already, or
  // nobody knows; then kicks stay off and the caller goes on taking. True also for a queue that
  // takes nothing; Resume must be followed by a wake-up of the caller's own.
  bool ArmKicks() ABSL_LOCKS_EXCLUDED(take_mu_);
  // Tells the guest that it need not kick, after a wake-up.
  void DisarmKicks() ABSL_LOCKS_EXCLUDED(take_mu_);

  // ---- Whoever has served a request

  // Gives requests back and publishes all of them at once. Their slots are free then. A `written`
  // beyond the chain's room is a bug of the caller's.
  void Complete(std::span<const Completion> done) ABSL_LOCKS_EXCLUDED(publish_mu_);
  void Complete(DescriptorChain& chain, uint32_t written) {
    const Completion done[] = {{&chain, written}};
    Complete(done);
  }
  // Gives one back, publishes it and notifies, and lets go of the queue in one: for those that
  // nobody waits for before the queue's end, since WaitIdle waits for this to be over.
  void CompleteAndNotify(DescriptorChain& chain, uint32_t written)
      ABSL_LOCKS_EXCLUDED(notify_mu_, publish_mu_);
  // Interrupts the guest if something was published that it wants to hear of and has not.
  void Notify() ABSL_LOCKS_EXCLUDED(notify_mu_);

  // ---- The control thread

  // Sets up a stopped queue; it takes nothing before Resume. `next` is the index of the next
  // request (SET_VRING_BASE); where `inflight` has requests of a former process, those come first.
  absl::Status Start(const RingConfig& config, uint16_t next, RefPtr<const GuestMemory> memory,
                     RefPtr<const InflightRegion> inflight)
      ABSL_LOCKS_EXCLUDED(take_mu_, notify_mu_, publish_mu_);
  // Lets requests be taken. What was added meanwhile was perhaps kicked for in vain: the serving
  // thread must be woken.
  void Resume() ABSL_LOCKS_EXCLUDED(take_mu_);
  // No request is taken from when it returns on. Those that were go on.
  void Halt() ABSL_LOCKS_EXCLUDED(take_mu_);
  // Waits until everything taken from a halted queue has been given back, published, and notified
  // of. False after `patience`.
  bool WaitIdle(absl::Duration patience) ABSL_LOCKS_EXCLUDED(take_mu_, notify_mu_, publish_mu_);
  // Forgets the ring and the log: from here on nothing is written, and nobody is notified. A
  // request that is still outstanding is given back in vain then, its memory stays mapped until it
  // is. Gives the indices that the queue has come to; without a ring those of the last time.
  QueueState Stop() ABSL_LOCKS_EXCLUDED(take_mu_, notify_mu_, publish_mu_);

  // Goes over to another table, also while requests are served, and waits until no request is in
  // a region that the new table has not: false if that takes longer than `patience`, in which case
  // the region stays mapped for those requests alone; the same call may be made again to wait on.
  // Requests in other regions are not waited for. A ring that is in no region any more takes
  // nothing until it is in one again (front-ends remove a region to add a larger one), and keeps
  // its own memory so long; the serving thread must be woken then, as after Resume.
  bool SetMemory(RefPtr<const GuestMemory> memory, absl::Duration patience)
      ABSL_LOCKS_EXCLUDED(take_mu_, notify_mu_, publish_mu_);
  // Every answer that is published after this returns is marked in `log`, none any more in the one
  // before; until Stop. Null: none. `used_ring` is the guest's address of the used ring, to mark
  // what is written to the ring itself; nothing: that is not wanted.
  void SetDirtyLog(RefPtr<const DirtyLog> log, std::optional<uint64_t> used_ring)
      ABSL_LOCKS_EXCLUDED(take_mu_, publish_mu_);

  // What to raise, as eventfds, for the guest and when the queue breaks. May be invalid: the guest
  // polls. A new call descriptor of a running queue is raised at once, for what the old one may
  // have swallowed.
  void SetCall(UniqueFd call) ABSL_LOCKS_EXCLUDED(notify_mu_);
  void SetError(UniqueFd error) ABSL_LOCKS_EXCLUDED(take_mu_);

  bool started() const ABSL_LOCKS_EXCLUDED(take_mu_);
  bool broken() const ABSL_LOCKS_EXCLUDED(take_mu_);
  // Requests taken and not given back.
  uint64_t outstanding() const ABSL_LOCKS_EXCLUDED(take_mu_, publish_mu_);
  QueueState state() const ABSL_LOCKS_EXCLUDED(take_mu_, publish_mu_);
  Counters counters() const ABSL_LOCKS_EXCLUDED(take_mu_, notify_mu_);

 private:
  bool taking() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_) { return running_ && !displaced_; }
  bool HasWorkLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_);
  void Break(absl::string_view why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_);
  void SetKicks(bool wanted) ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_);
  void Retire() ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_, publish_mu_);
  void Fill(uint16_t head, DescriptorChain& chain) ABSL_EXCLUSIVE_LOCKS_REQUIRED(take_mu_);
  // Gives back without letting go.
  void Publish(std::span<const Completion> done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  // Lets go of what was given back; gives the tables that nobody uses any more, to be dropped
  // outside of the lock.
  using Tables = std::vector<std::unique_ptr<MemoryUse>>;
  Tables LetGo(std::span<const Completion> done) ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  Tables Unused() ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  void MarkAnswer(const Completion& done) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);
  void MarkUsed(uint16_t from, uint16_t to) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(publish_mu_);

  const uint32_t index_;

  // The index up to which answers are published, for the sides that do not hold publish_mu_.
  // Released with the answers: who takes a request whose buffers the guest has used before comes
  // after who has answered into them, though the word went through the guest's own mapping of the
  // ring.
  std::atomic<uint16_t> published_{0};

  // Each side has its own copy of where the ring is, so that none needs another's lock to read it.
  alignas(64) mutable absl::Mutex take_mu_ ABSL_ACQUIRED_BEFORE(notify_mu_, publish_mu_);
  RingConfig config_ ABSL_GUARDED_BY(take_mu_);
  SplitRing ring_ ABSL_GUARDED_BY(take_mu_);
  bool running_ ABSL_GUARDED_BY(take_mu_) = false;
  bool broken_ ABSL_GUARDED_BY(take_mu_) = false;
  bool displaced_ ABSL_GUARDED_BY(take_mu_) = false;  // the newest table has no memory for the ring
  bool tracks_inflight_ ABSL_GUARDED_BY(take_mu_) = false;
  uint16_t next_ ABSL_GUARDED_BY(take_mu_) = 0;
  uint64_t taken_ ABSL_GUARDED_BY(take_mu_) = 0;
  uint64_t malformed_ ABSL_GUARDED_BY(take_mu_) = 0;
  GuestMemory::Hint hint_ ABSL_GUARDED_BY(take_mu_);
  std::unique_ptr<MemoryUse> use_ ABSL_GUARDED_BY(take_mu_);         // null: there is no ring
  RefPtr<const GuestMemory> ring_memory_ ABSL_GUARDED_BY(take_mu_);  // where the ring is
  // A former process's, the first one last.
  std::vector<uint16_t> resubmit_ ABSL_GUARDED_BY(take_mu_);
  RefPtr<const DirtyLog> kick_log_ ABSL_GUARDED_BY(take_mu_);
  std::optional<uint64_t> kick_log_used_ ABSL_GUARDED_BY(take_mu_);
  sys::PeerEvent error_ ABSL_GUARDED_BY(take_mu_);

  alignas(64) mutable absl::Mutex notify_mu_ ABSL_ACQUIRED_BEFORE(publish_mu_);
  SplitRing notify_ring_ ABSL_GUARDED_BY(notify_mu_);
  bool event_idx_ ABSL_GUARDED_BY(notify_mu_) = false;
  bool signalled_valid_ ABSL_GUARDED_BY(notify_mu_) = false;  // since this start
  uint16_t signalled_ ABSL_GUARDED_BY(notify_mu_) = 0;
  uint64_t calls_ ABSL_GUARDED_BY(notify_mu_) = 0;
  sys::PeerEvent call_ ABSL_GUARDED_BY(notify_mu_);

  alignas(64) mutable absl::Mutex publish_mu_;
  SplitRing publish_ring_ ABSL_GUARDED_BY(publish_mu_);
  uint16_t used_ ABSL_GUARDED_BY(publish_mu_) = 0;
  uint64_t returned_ ABSL_GUARDED_BY(publish_mu_) = 0;
  std::vector<std::unique_ptr<MemoryUse>> retired_ ABSL_GUARDED_BY(publish_mu_);
  InflightQueue inflight_ ABSL_GUARDED_BY(publish_mu_);
  RefPtr<const InflightRegion> inflight_region_ ABSL_GUARDED_BY(publish_mu_);
  RefPtr<const DirtyLog> log_ ABSL_GUARDED_BY(publish_mu_);
  std::optional<uint64_t> log_used_ ABSL_GUARDED_BY(publish_mu_);
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_VIRT_QUEUE_H_
