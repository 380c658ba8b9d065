#include "vhost/virtqueue/split_ring.h"

#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "gofer/base/status_macros.h"

namespace gofer::vhost {
namespace {

static_assert(std::atomic<uint16_t>::is_always_lock_free && sizeof(std::atomic<uint16_t>) == 2);
static_assert(std::atomic<uint32_t>::is_always_lock_free && sizeof(std::atomic<uint32_t>) == 4);
static_assert(std::atomic<uint64_t>::is_always_lock_free && sizeof(std::atomic<uint64_t>) == 8);

absl::StatusOr<std::byte*> Area(const GuestMemory& memory, const char* name, uint64_t address,
                                size_t size, size_t alignment) {
  std::byte* const area = memory.AtUserAddress(address, size);
  if (area == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrFormat("ring: %s area of %d bytes at user address %#x is not inside one region",
                        name, size, address));
  }
  // Both: the front-end's address by the rules of virtio, ours because we access it.
  if (address % alignment != 0 || reinterpret_cast<uintptr_t>(area) % alignment != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "ring: %s area at user address %#x is not aligned to %d bytes", name, address, alignment));
  }
  return area;
}

}  // namespace

absl::StatusOr<SplitRing> SplitRing::Locate(const GuestMemory& memory, uint32_t size,
                                            const RingAddresses& addresses) {
  if (size == 0 || size > kMaxRingSize || (size & (size - 1)) != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("ring: size %d is not a power of two from 1 to %d", size, kMaxRingSize));
  }
  SplitRing ring;
  ring.size_ = size;
  ASSIGN_OR_RETURN(ring.descriptors_, Area(memory, "descriptor", addresses.descriptors,
                                           DescriptorTableSize(size), kDescriptorAlignment));
  ASSIGN_OR_RETURN(ring.available_, Area(memory, "available", addresses.available,
                                         AvailableSize(size), kAvailableAlignment));
  ASSIGN_OR_RETURN(ring.used_,
                   Area(memory, "used", addresses.used, UsedSize(size), kUsedAlignment));
  return ring;
}

Descriptor SplitRing::CopyDescriptor(const std::byte* at) {
  const auto* const words = reinterpret_cast<const std::atomic<uint64_t>*>(at);
  const uint64_t copy[2] = {words[0].load(std::memory_order_relaxed),
                            words[1].load(std::memory_order_relaxed)};
  Descriptor descriptor;
  static_assert(sizeof(copy) == sizeof(descriptor));
  std::memcpy(&descriptor, copy, sizeof(descriptor));
  return descriptor;
}

}  // namespace gofer::vhost
