// GuestMemory: the table of the guest's memory at one moment, and how its addresses become ours.
//
// A table never changes: a message that adds, removes or replaces regions makes the next table,
// which shares the regions that stay. Each VirtQueue has the table that its requests are in; a
// region is unmapped when no table that has it is in use any more (VirtQueue::SetMemory).
//
// Owner:   counted. Threads: immutable; a Hint belongs to one thread.
// Errors:  kInvalidArgument, kAlreadyExists (overlap), kNotFound, kResourceExhausted (limits). The
//          table they are asked of is untouched then.
// Source:  spec/vhost-user-fs.md s.6; spec/security.md s.5 (limits).

#ifndef VHOST_MEMORY_GUEST_MEMORY_H_
#define VHOST_MEMORY_GUEST_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "vhost/memory/memory_region.h"

namespace gofer::vhost {

// As many as the answer to GET_MAX_MEM_SLOTS says, unless a flag does.
inline constexpr size_t kMaxMemoryRegions = 509;
inline constexpr uint64_t kMaxGuestMemory = uint64_t{1} << 40;

// What a table may have, which a flag may lower.
struct MemoryLimits {
  size_t regions = kMaxMemoryRegions;
  uint64_t bytes = kMaxGuestMemory;
};

class GuestMemory : public RefCounted<GuestMemory> {
 public:
  // A region to be: SET_MEM_TABLE has several, ADD_MEM_REG one.
  struct NewRegion {
    RegionLayout layout;
    BorrowedFd file;
  };

  // A table of these regions alone; none is a table without memory. Tables that are made of it have
  // the same limits.
  static absl::StatusOr<RefPtr<const GuestMemory>> Create(std::span<const NewRegion> regions,
                                                          BorrowedFd on_break,
                                                          const MemoryLimits& limits = {});
  // This table and one region more, or less.
  absl::StatusOr<RefPtr<const GuestMemory>> With(const NewRegion& region,
                                                 BorrowedFd on_break) const;
  absl::StatusOr<RefPtr<const GuestMemory>> Without(const RegionLayout& layout) const;

  size_t size() const { return ranges_.size(); }
  uint64_t bytes() const;
  // The front-end cut a file under us: nothing that is read can be believed.
  bool broken() const;

  // The region that was found last: requests mostly stay in one.
  struct Hint {
    size_t region = 0;
  };

  // Some of this table's regions, a bit each; those from the 64th on share the last bit.
  using RegionSet = uint64_t;
  static RegionSet SetOf(Hint found) {
    return RegionSet{1} << (found.region < 63 ? found.region : 63);
  }
  // Those whose memory `other` does not have.
  RegionSet NotIn(const GuestMemory& other) const;
  // This table without those, which leave gaps: all others have the bits that they had. For a table
  // that is only kept for the requests that are left in it.
  RefPtr<const GuestMemory> InCommonWith(const GuestMemory& other) const;

  // What of the guest's [address, address + size) is in one piece from `address` on: all of it,
  // the part up to the end of a region, or nothing where there is no memory. `size` > 0.
  std::span<std::byte> Piece(uint64_t address, uint64_t size, Hint& hint) const {
    const Range* range = hint.region < ranges_.size() ? &ranges_[hint.region] : nullptr;
    // Compared by subtraction: sums could wrap.
    if (range == nullptr || address - range->guest_address >= range->size) [[unlikely]] {
      range = Find(address);
      if (range == nullptr) return {};
      hint.region = static_cast<size_t>(range - ranges_.data());
    }
    const uint64_t offset = address - range->guest_address;
    const uint64_t rest = range->size - offset;
    return {range->data + offset, static_cast<size_t>(size < rest ? size : rest)};
  }

  // Whether all of [address, address + size) is memory.
  bool Contains(uint64_t address, uint64_t size, Hint& hint) const;
  // Copies [address, address + to.size()) into private memory, over borders of regions. False if
  // it is not all memory; then `to` is undefined.
  [[nodiscard]] bool CopyOut(uint64_t address, std::span<std::byte> to, Hint& hint) const;

  // The front-end's [address, address + size) if it is inside one region: rings. Null if it is not.
  std::byte* AtUserAddress(uint64_t address, uint64_t size) const;

  // The guest's address of a byte that Piece gave out; nothing for any other byte. `rest` becomes
  // how far the region goes from there.
  std::optional<uint64_t> GuestAddressOf(const std::byte* byte, uint64_t& rest) const;

 private:
  friend class RefCounted<GuestMemory>;

  // What translation needs of a region, close together.
  struct Range {
    uint64_t guest_address;
    uint64_t size;
    std::byte* data;
  };

  GuestMemory(std::vector<RefPtr<const MemoryRegion>> regions, const MemoryLimits& limits);
  ~GuestMemory() = default;

  const Range* Find(uint64_t address) const;

  bool Has(const RefPtr<const MemoryRegion>& region) const;

  const MemoryLimits limits_;
  // Both sorted by guest address, the same index in both. A gap is null, and of no size.
  const std::vector<RefPtr<const MemoryRegion>> regions_;
  std::vector<Range> ranges_;
};

}  // namespace gofer::vhost

#endif  // VHOST_MEMORY_GUEST_MEMORY_H_
