#include "vhost/memory/memory_region.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "gofer/base/errno.h"

namespace gofer::vhost {

absl::StatusOr<RefPtr<const MemoryRegion>> MemoryRegion::Map(const RegionLayout& layout,
                                                             BorrowedFd file, BorrowedFd on_break) {
  const uint64_t size = layout.size;
  // The last byte's address must exist; one that is the highest of all is of no use to anybody.
  if (size == 0 || size > UINT64_MAX - layout.guest_address ||
      size > UINT64_MAX - layout.user_address || size > UINT64_MAX - layout.file_offset) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "memory region: %#x bytes at guest address %#x, user address %#x, file offset %#x", size,
        layout.guest_address, layout.user_address, layout.file_offset));
  }
  ErrnoOr<sys::PeerMemory> memory = sys::PeerMemory::Map(file, layout.file_offset, size, on_break);
  if (!memory.ok()) {
    return ToStatus(memory.error(),
                    absl::StrFormat("memory region: map %#x bytes at file offset %#x", size,
                                    layout.file_offset));
  }
  return RefPtr<const MemoryRegion>::Adopt(new MemoryRegion(layout, *std::move(memory)));
}

}  // namespace gofer::vhost
