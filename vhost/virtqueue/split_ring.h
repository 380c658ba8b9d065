// SplitRing: where a ring's three areas are in our address space, and each access to them with the
// order that it needs. It decides nothing.
//
// Owner:   a view of guest memory; VirtQueue keeps that mapped.
// Threads: a value. The areas are shared with the guest: every field is accessed once, as an
//          atomic, and believed by nobody.
// Source:  VIRTIO 1.2 s.2.7; spec/vhost-user-fs.md s.9 and 12 (memory order).

#ifndef VHOST_VIRTQUEUE_SPLIT_RING_H_
#define VHOST_VIRTQUEUE_SPLIT_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "absl/status/statusor.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost {

// SET_VRING_ADDR's: addresses of the front-end's own.
struct RingAddresses {
  uint64_t descriptors = 0;
  uint64_t used = 0;
  uint64_t available = 0;
};

class SplitRing {
 public:
  SplitRing() = default;
  // Finds the areas, each wholly in one region and aligned.
  static absl::StatusOr<SplitRing> Locate(const GuestMemory& memory, uint32_t size,
                                          const RingAddresses& addresses);

  bool valid() const { return descriptors_ != nullptr; }
  uint32_t size() const { return size_; }

  // The driver's area. Everything that the index covers is visible after it.
  uint16_t AvailableIndex() const {
    return Field(available_ + kIndexOffset).load(std::memory_order_acquire);
  }
  uint16_t AvailableHead(uint16_t index) const {
    return Field(available_ + kEntriesOffset + sizeof(uint16_t) * Slot(index))
        .load(std::memory_order_relaxed);
  }
  uint16_t AvailableFlags() const {
    return Field(available_ + kFlagsOffset).load(std::memory_order_relaxed);
  }
  uint16_t UsedEvent() const {
    return Field(available_ + UsedEventOffset(size_)).load(std::memory_order_relaxed);
  }
  // A copy of one entry of the descriptor table; `index` < size().
  Descriptor DescriptorAt(uint16_t index) const {
    return CopyDescriptor(descriptors_ + sizeof(Descriptor) * index);
  }

  // The device's area.
  uint16_t UsedIndex() const { return Field(used_ + kIndexOffset).load(std::memory_order_relaxed); }
  void StoreUsed(uint16_t index, UsedElement element) const {
    std::byte* const at = used_ + UsedElementOffset(index);
    Word(at).store(element.head, std::memory_order_relaxed);
    Word(at + offsetof(UsedElement, written_bytes))
        .store(element.written_bytes, std::memory_order_relaxed);
  }
  // Everything that was stored before is visible with it.
  void PublishUsed(uint16_t index) const {
    Field(used_ + kIndexOffset).store(index, std::memory_order_release);
  }
  void StoreUsedFlags(uint16_t flags) const {
    Field(used_ + kFlagsOffset).store(flags, std::memory_order_relaxed);
  }
  void StoreAvailableEvent(uint16_t index) const {
    Field(used_ + AvailableEventOffset(size_)).store(index, std::memory_order_relaxed);
  }
  // Where an element is in the device's area.
  size_t UsedElementOffset(uint16_t index) const {
    return kEntriesOffset + sizeof(UsedElement) * Slot(index);
  }

  // A copy of a descriptor at an aligned address in guest memory.
  static Descriptor CopyDescriptor(const std::byte* at);

 private:
  static std::atomic<uint16_t>& Field(std::byte* at) {
    return *reinterpret_cast<std::atomic<uint16_t>*>(at);
  }
  static std::atomic<uint32_t>& Word(std::byte* at) {
    return *reinterpret_cast<std::atomic<uint32_t>*>(at);
  }
  size_t Slot(uint16_t index) const { return index & (size_ - 1); }

  uint32_t size_ = 0;
  std::byte* descriptors_ = nullptr;
  std::byte* available_ = nullptr;
  std::byte* used_ = nullptr;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_SPLIT_RING_H_
