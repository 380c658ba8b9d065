// The split ring as it lies in the guest's memory: three areas, little-endian. Both ends use it.
//
// Source:  VIRTIO 1.2 s.2.7; linux/virtio_ring.h; spec/vhost-user-fs.md s.9.1.

#ifndef VHOST_VIRTQUEUE_RING_LAYOUT_H_
#define VHOST_VIRTQUEUE_RING_LAYOUT_H_

#include <cstddef>
#include <cstdint>

namespace gofer::vhost {

inline constexpr uint32_t kMaxRingSize = 32768;

// An entry of the descriptor table, and of an indirect table.
struct Descriptor {
  uint64_t address;
  uint32_t size_bytes;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

// Descriptor::flags.
inline constexpr uint16_t kDescriptorNext = 1;
inline constexpr uint16_t kDescriptorWrite = 2;
inline constexpr uint16_t kDescriptorIndirect = 4;

// The flags that the driver and the device keep at the start of their areas; always 0 where
// EVENT_IDX was negotiated.
inline constexpr uint16_t kAvailableNoInterrupt = 1;
inline constexpr uint16_t kUsedNoNotify = 1;

struct UsedElement {
  uint32_t head;
  uint32_t written_bytes;
};
static_assert(sizeof(UsedElement) == 8);

// Both areas begin: flags (16 bits), index (16 bits), entries. Then follows the event index, whose
// room is there whether it was negotiated or not.
inline constexpr size_t kFlagsOffset = 0;
inline constexpr size_t kIndexOffset = 2;
inline constexpr size_t kEntriesOffset = 4;

constexpr size_t DescriptorTableSize(uint32_t ring_size) { return sizeof(Descriptor) * ring_size; }
constexpr size_t UsedEventOffset(uint32_t ring_size) {
  return kEntriesOffset + sizeof(uint16_t) * ring_size;
}
constexpr size_t AvailableSize(uint32_t ring_size) {
  return UsedEventOffset(ring_size) + sizeof(uint16_t);
}
constexpr size_t AvailableEventOffset(uint32_t ring_size) {
  return kEntriesOffset + sizeof(UsedElement) * ring_size;
}
constexpr size_t UsedSize(uint32_t ring_size) {
  return AvailableEventOffset(ring_size) + sizeof(uint16_t);
}

inline constexpr size_t kDescriptorAlignment = 16;
inline constexpr size_t kAvailableAlignment = 2;
inline constexpr size_t kUsedAlignment = 4;

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_RING_LAYOUT_H_
