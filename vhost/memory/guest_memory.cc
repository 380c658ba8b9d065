#include "vhost/memory/guest_memory.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "gofer/base/status_macros.h"

namespace gofer::vhost {
namespace {

using Regions = std::vector<RefPtr<const MemoryRegion>>;

bool Overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
  return a < b ? b - a < a_size : a - b < b_size;
}

// Maps one more region and puts it in its place.
absl::Status Insert(Regions& regions, const GuestMemory::NewRegion& added, BorrowedFd on_break,
                    const MemoryLimits& limits) {
  if (regions.size() >= limits.regions) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("guest memory: more than %d regions", limits.regions));
  }
  uint64_t total = 0;  // cannot wrap: it was below the limit before each addition
  for (const RefPtr<const MemoryRegion>& region : regions) {
    const RegionLayout& there = region->layout();
    total += there.size;
    if (Overlap(there.guest_address, there.size, added.layout.guest_address, added.layout.size) ||
        Overlap(there.user_address, there.size, added.layout.user_address, added.layout.size)) {
      return absl::AlreadyExistsError(absl::StrFormat(
          "guest memory: %#x bytes at guest address %#x, user address %#x overlap %#x bytes at "
          "%#x, %#x",
          added.layout.size, added.layout.guest_address, added.layout.user_address, there.size,
          there.guest_address, there.user_address));
    }
  }
  if (added.layout.size > limits.bytes - total) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("guest memory: %#x bytes and another %#x, limit %#x", total,
                        added.layout.size, limits.bytes));
  }
  ASSIGN_OR_RETURN(RefPtr<const MemoryRegion> region,
                   MemoryRegion::Map(added.layout, added.file, on_break));
  const auto place =
      std::find_if(regions.begin(), regions.end(), [&](const RefPtr<const MemoryRegion>& there) {
        return there->layout().guest_address > added.layout.guest_address;
      });
  regions.insert(place, std::move(region));
  return absl::OkStatus();
}

}  // namespace

GuestMemory::GuestMemory(Regions regions, const MemoryLimits& limits)
    : limits_(limits), regions_(std::move(regions)) {
  ranges_.reserve(regions_.size());
  for (const RefPtr<const MemoryRegion>& region : regions_) {
    if (!region) {
      ranges_.push_back({.guest_address = 0, .size = 0, .data = nullptr});
      continue;
    }
    ranges_.push_back({.guest_address = region->layout().guest_address,
                       .size = region->layout().size,
                       .data = region->data()});
  }
}

absl::StatusOr<RefPtr<const GuestMemory>> GuestMemory::Create(std::span<const NewRegion> regions,
                                                              BorrowedFd on_break,
                                                              const MemoryLimits& limits) {
  Regions mapped;
  mapped.reserve(std::min(regions.size(), limits.regions));
  for (const NewRegion& region : regions) RETURN_IF_ERROR(Insert(mapped, region, on_break, limits));
  return RefPtr<const GuestMemory>::Adopt(new GuestMemory(std::move(mapped), limits));
}

absl::StatusOr<RefPtr<const GuestMemory>> GuestMemory::With(const NewRegion& region,
                                                            BorrowedFd on_break) const {
  Regions regions = regions_;
  RETURN_IF_ERROR(Insert(regions, region, on_break, limits_));
  return RefPtr<const GuestMemory>::Adopt(new GuestMemory(std::move(regions), limits_));
}

absl::StatusOr<RefPtr<const GuestMemory>> GuestMemory::Without(const RegionLayout& layout) const {
  Regions regions = regions_;
  const auto place = std::find_if(
      regions.begin(), regions.end(),
      [&](const RefPtr<const MemoryRegion>& there) { return there->layout().SameRange(layout); });
  if (place == regions.end()) {
    return absl::NotFoundError(absl::StrFormat(
        "guest memory: no region of %#x bytes at guest address %#x, user address %#x", layout.size,
        layout.guest_address, layout.user_address));
  }
  regions.erase(place);
  return RefPtr<const GuestMemory>::Adopt(new GuestMemory(std::move(regions), limits_));
}

uint64_t GuestMemory::bytes() const {
  uint64_t sum = 0;  // Insert has compared it with the limit
  for (const Range& range : ranges_) sum += range.size;
  return sum;
}

bool GuestMemory::broken() const {
  return std::any_of(regions_.begin(), regions_.end(),
                     [](const RefPtr<const MemoryRegion>& region) { return region->broken(); });
}

bool GuestMemory::Has(const RefPtr<const MemoryRegion>& region) const {
  return std::find(regions_.begin(), regions_.end(), region) != regions_.end();
}

GuestMemory::RegionSet GuestMemory::NotIn(const GuestMemory& other) const {
  RegionSet missing = 0;
  for (size_t i = 0; i < regions_.size(); ++i) {
    if (regions_[i] && !other.Has(regions_[i])) missing |= SetOf({.region = i});
  }
  return missing;
}

RefPtr<const GuestMemory> GuestMemory::InCommonWith(const GuestMemory& other) const {
  Regions common = regions_;
  for (RefPtr<const MemoryRegion>& region : common) {
    if (!other.Has(region)) region = nullptr;
  }
  return RefPtr<const GuestMemory>::Adopt(new GuestMemory(std::move(common), limits_));
}

const GuestMemory::Range* GuestMemory::Find(uint64_t address) const {
  auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), address,
      [](uint64_t wanted, const Range& range) { return wanted < range.guest_address; });
  if (after == ranges_.begin()) return nullptr;
  --after;
  return address - after->guest_address < after->size ? &*after : nullptr;
}

bool GuestMemory::Contains(uint64_t address, uint64_t size, Hint& hint) const {
  while (size > 0) {
    const std::span<std::byte> piece = Piece(address, size, hint);
    if (piece.empty()) return false;
    address += piece.size();  // at most to the end of a region, which is no wrap
    size -= piece.size();
  }
  return true;
}

bool GuestMemory::CopyOut(uint64_t address, std::span<std::byte> to, Hint& hint) const {
  while (!to.empty()) {
    const std::span<std::byte> piece = Piece(address, to.size(), hint);
    if (piece.empty()) return false;
    std::memcpy(to.data(), piece.data(), piece.size());
    to = to.subspan(piece.size());
    address += piece.size();
  }
  // Who judges the copy must not be given the guest's bytes again by the compiler.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  return true;
}

std::byte* GuestMemory::AtUserAddress(uint64_t address, uint64_t size) const {
  for (const RefPtr<const MemoryRegion>& region : regions_) {
    const uint64_t offset = address - region->layout().user_address;  // huge if it is before
    if (offset < region->layout().size && size <= region->layout().size - offset) {
      return region->data() + offset;
    }
  }
  return nullptr;
}

std::optional<uint64_t> GuestMemory::GuestAddressOf(const std::byte* byte, uint64_t& rest) const {
  for (const Range& range : ranges_) {
    const uint64_t offset =
        reinterpret_cast<uintptr_t>(byte) - reinterpret_cast<uintptr_t>(range.data);
    if (offset < range.size) {
      rest = range.size - offset;
      return range.guest_address + offset;
    }
  }
  return std::nullopt;
}

}  // namespace gofer::vhost
