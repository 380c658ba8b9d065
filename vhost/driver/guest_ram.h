// GuestRam: the memory of a guest that a test or the benchmark plays, in a memory file that the
// device maps too.
//
// The file is laid out in regions as a VMM announces them: two of the same file, below and above
// the hole at 4 GiB, are what QEMU gives a big guest.
//
// Owner:   owns the file and its mapping; rings and buffers point into it and die before it.
// Threads: safe: each queue may have a thread of its own. The memory itself is shared with the
// device.
// Locks:   mu_ is a leaf.
// Errors:  what cannot be set up ends the program.
// Source:  spec/vhost-user-fs.md s.6.

#ifndef VHOST_DRIVER_GUEST_RAM_H_
#define VHOST_DRIVER_GUEST_RAM_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/unique_fd.h"
#include "vhost/memory/memory_region.h"

namespace gofer::vhost::driver {

// A piece of guest memory, seen from both sides.
struct RamBlock {
  uint64_t guest_address = 0;
  std::byte* host = nullptr;
  uint64_t size = 0;

  RamBlock Sub(uint64_t offset, uint64_t length) const {
    return {guest_address + offset, host + offset, length};
  }
};

class GuestRam {
 public:
  struct Piece {
    uint64_t guest_address;
    uint64_t size;
  };
  // One region of `size` bytes at address zero.
  explicit GuestRam(uint64_t size);
  // Regions one after the other in the file; ascending, whole pages.
  explicit GuestRam(std::span<const Piece> pieces);
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;
  ~GuestRam();

  BorrowedFd file() const { return file_; }
  std::span<const RegionLayout> regions() const { return regions_; }
  // The address in the VMM's process of a guest address.
  uint64_t UserAddress(uint64_t guest_address) const;

  // Zeroed memory in one region, never given back. `align` is a power of two.
  RamBlock Allocate(uint64_t size, uint64_t align) ABSL_LOCKS_EXCLUDED(mu_);
  // In the region with this index.
  RamBlock AllocateIn(size_t region, uint64_t size, uint64_t align) ABSL_LOCKS_EXCLUDED(mu_);
  // Memory at a known place, whether allocated or not; all of it must be in one region.
  RamBlock At(uint64_t guest_address, uint64_t size) const;

 private:
  // Nothing if the region has no room for it.
  std::optional<RamBlock> TryAllocate(size_t region, uint64_t size, uint64_t align)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  UniqueFd file_;
  std::byte* memory_ = nullptr;
  uint64_t size_ = 0;
  std::vector<RegionLayout> regions_;
  absl::Mutex mu_;
  std::vector<uint64_t> allocated_ ABSL_GUARDED_BY(mu_);  // of each region, from its start
};

}  // namespace gofer::vhost::driver

#endif  // VHOST_DRIVER_GUEST_RAM_H_
