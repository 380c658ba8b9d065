// ChainWalk: turns a chain of descriptors into a DescriptorChain, in one pass, copying each
// descriptor once and believing none.
//
// Owner:   VirtQueue, on the stack. Threads: the one that takes.
// Source:  VIRTIO 1.2 s.2.7.5; spec/vhost-user-fs.md s.9.3 and 11, rows 3 to 13.

#ifndef VHOST_VIRTQUEUE_CHAIN_WALK_H_
#define VHOST_VIRTQUEUE_CHAIN_WALK_H_

#include <cstddef>
#include <cstdint>

#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/descriptor_chain.h"
#include "vhost/virtqueue/ring_layout.h"
#include "vhost/virtqueue/split_ring.h"

namespace gofer::vhost {

class ChainWalk {
 public:
  // `hint` goes from walk to walk.
  ChainWalk(const SplitRing& ring, const GuestMemory& memory, GuestMemory::Hint& hint)
      : ring_(ring), memory_(memory), hint_(hint) {}

  // Fills `chain`, which is found with the faults that it has; `head` < ring.size().
  void Walk(uint16_t head, DescriptorChain& chain);

 private:
  using Fault = DescriptorChain::Fault;

  // These return false when nothing after it can be made sense of.
  bool Add(const Descriptor& descriptor, DescriptorChain& chain);
  bool Fail(Fault fault, DescriptorChain& chain);
  void WalkIndirect(const Descriptor& table, DescriptorChain& chain);

  // As many entries as an indirect table may have.
  size_t limit() const { return ring_.size() < 1024 ? 1024 : ring_.size(); }

  const SplitRing& ring_;
  const GuestMemory& memory_;
  GuestMemory::Hint& hint_;
  bool in_cut_ = false;  // a part of the readable buffers is missing: nothing after it is told
  bool out_cut_ = false;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_CHAIN_WALK_H_
