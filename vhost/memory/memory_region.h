// MemoryRegion: one piece of the guest's memory, as the front-end announced it, mapped.
//
// Owner:   counted: the tables (GuestMemory) that contain it; unmapped with the last of them.
// Threads: immutable.
// Errors:  kInvalidArgument for numbers that cannot be true; what mapping fails with, with its
//          errno as payload.
// Units:   bytes.
// Source:  spec/vhost-user-fs.md s.3.1 and 6.1.

#ifndef VHOST_MEMORY_MEMORY_REGION_H_
#define VHOST_MEMORY_MEMORY_REGION_H_

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/peer_memory.h"

namespace gofer::vhost {

// Where a region is for each of the three that speak of it. The fields of the wire, in its order.
struct RegionLayout {
  uint64_t guest_address = 0;  // the guest's physical address: descriptors
  uint64_t size = 0;
  uint64_t user_address = 0;  // the front-end's virtual address: ring addresses
  uint64_t file_offset = 0;   // in the region's descriptor

  // The same region for REM_MEM_REG, which leaves the offset out.
  bool SameRange(const RegionLayout& other) const {
    return guest_address == other.guest_address && size == other.size &&
           user_address == other.user_address;
  }
};

class MemoryRegion : public RefCounted<MemoryRegion> {
 public:
  // Checks the numbers and maps the file, which may be closed then. `on_break` as in PeerMemory.
  static absl::StatusOr<RefPtr<const MemoryRegion>> Map(const RegionLayout& layout, BorrowedFd file,
                                                        BorrowedFd on_break);

  const RegionLayout& layout() const { return layout_; }
  std::byte* data() const { return memory_.bytes().data(); }
  bool broken() const { return memory_.broken(); }

 private:
  friend class RefCounted<MemoryRegion>;

  MemoryRegion(const RegionLayout& layout, sys::PeerMemory memory)
      : layout_(layout), memory_(std::move(memory)) {}
  ~MemoryRegion() = default;

  const RegionLayout layout_;
  const sys::PeerMemory memory_;
};

}  // namespace gofer::vhost

#endif  // VHOST_MEMORY_MEMORY_REGION_H_
