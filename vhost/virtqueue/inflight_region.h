// InflightRegion: memory that the front-end keeps while we come and go, in which each queue notes
// the requests it has taken and not yet answered. After a crash the next process serves them.
//
// Owner:   the region counts: the backend and the queues that note in it. An InflightQueue is a
//          view of one queue's part.
// Threads: the region is immutable; an InflightQueue is used by one thread at a time.
// Errors:  kInvalidArgument: sizes that do not fit, of another version, or for another ring size.
// Source:  spec/vhost-user-fs.md s.13; the vhost-user protocol, "Inflight I/O tracking", split.

#ifndef VHOST_VIRTQUEUE_INFLIGHT_REGION_H_
#define VHOST_VIRTQUEUE_INFLIGHT_REGION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/peer_memory.h"

namespace gofer::vhost {

// The messages' payload.
struct InflightLayout {
  uint64_t size = 0;
  uint64_t offset = 0;
  uint16_t num_queues = 0;
  uint16_t queue_size = 0;
};

// One queue's part. All of it is the front-end's to change: what is read is bounded by the ring.
class InflightQueue {
 public:
  InflightQueue() = default;
  InflightQueue(std::byte* memory, uint16_t capacity) : memory_(memory), capacity_(capacity) {}

  bool valid() const { return memory_ != nullptr; }

  // What a former process has left.
  struct Recovered {
    bool fresh = false;  // nobody used this part before
    // Taken and never answered, in the order of their taking. To be served before anything new.
    std::vector<uint16_t> heads;
  };
  // Makes a fresh part ready, or tidies up one that was in use: the crash may have been between two
  // steps of publishing. `used_index` is the ring's own.
  absl::StatusOr<Recovered> Open(uint32_t ring_size, uint16_t used_index);

  // A request is about to be served.
  void Take(uint16_t head);
  // The steps of publishing a batch: Link each of its heads; publish the ring's index; Clear each
  // head; Settle.
  void Link(uint16_t head);
  void Clear(uint16_t head);
  void Settle(uint16_t used_index);

 private:
  struct Header;
  struct Entry;

  Header& header() const;
  Entry& entry(uint16_t head) const;

  std::byte* memory_ = nullptr;
  uint16_t capacity_ = 0;
  uint64_t last_counter_ = 0;
};

class InflightRegion : public RefCounted<InflightRegion> {
 public:
  // GET_INFLIGHT_FD: a fresh region for the front-end to keep; `layout` has the counts and gets
  // size and offset.
  static absl::StatusOr<UniqueFd> Create(InflightLayout& layout);
  // SET_INFLIGHT_FD. `on_break` as in PeerMemory.
  static absl::StatusOr<RefPtr<const InflightRegion>> Map(const InflightLayout& layout,
                                                          BorrowedFd file, BorrowedFd on_break);

  // The part of a queue; not valid if the region has none for it.
  InflightQueue Queue(uint32_t index) const;

 private:
  friend class RefCounted<InflightRegion>;

  InflightRegion(const InflightLayout& layout, sys::PeerMemory memory)
      : layout_(layout), memory_(std::move(memory)) {}
  ~InflightRegion() = default;

  const InflightLayout layout_;
  const sys::PeerMemory memory_;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_INFLIGHT_REGION_H_
