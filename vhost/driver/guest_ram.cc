#include "vhost/driver/guest_ram.h"

#include <sys/mman.h>
#include <unistd.h>

#include "glog/logging.h"

namespace gofer::vhost::driver {

GuestRam::GuestRam(uint64_t size) : GuestRam(std::span<const Piece>({Piece{0, size}})) {}

GuestRam::GuestRam(std::span<const Piece> pieces)
    : file_(memfd_create("guest ram", MFD_CLOEXEC)), allocated_(pieces.size(), 0) {
  PCHECK(file_.valid()) << "memfd_create";
  for (const Piece& piece : pieces) size_ += piece.size;
  PCHECK(ftruncate(file_.get(), static_cast<off_t>(size_)) == 0) << size_;
  void* const at = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  PCHECK(at != MAP_FAILED) << "mmap of " << size_;
  memory_ = static_cast<std::byte*>(at);
  uint64_t offset = 0;
  for (const Piece& piece : pieces) {
    regions_.push_back({.guest_address = piece.guest_address,
                        .size = piece.size,
                        .user_address = reinterpret_cast<uint64_t>(memory_ + offset),
                        .file_offset = offset});
    offset += piece.size;
  }
}

GuestRam::~GuestRam() { munmap(memory_, size_); }

uint64_t GuestRam::UserAddress(uint64_t guest_address) const {
  return reinterpret_cast<uint64_t>(At(guest_address, 1).host);
}

RamBlock GuestRam::Allocate(uint64_t size, uint64_t align) {
  const absl::MutexLock lock(&mu_);
  for (size_t i = 0; i < regions_.size(); ++i) {
    if (const std::optional<RamBlock> block = TryAllocate(i, size, align)) return *block;
  }
  LOG(FATAL) << "guest ram: no room for " << size << " bytes more";
  return {};
}

RamBlock GuestRam::AllocateIn(size_t region, uint64_t size, uint64_t align) {
  CHECK_LT(region, regions_.size());
  const absl::MutexLock lock(&mu_);
  const std::optional<RamBlock> block = TryAllocate(region, size, align);
  CHECK(block.has_value()) << "guest ram: region " << region << " has no room for " << size
                           << " bytes more";
  return *block;
}

std::optional<RamBlock> GuestRam::TryAllocate(size_t region, uint64_t size, uint64_t align) {
  const RegionLayout& in = regions_[region];
  const uint64_t begin = (allocated_[region] + align - 1) & ~(align - 1);
  if (begin > in.size || size > in.size - begin) return std::nullopt;
  allocated_[region] = begin + size;
  return RamBlock{in.guest_address + begin, memory_ + in.file_offset + begin, size};
}

RamBlock GuestRam::At(uint64_t guest_address, uint64_t size) const {
  for (const RegionLayout& region : regions_) {
    if (guest_address < region.guest_address) continue;
    const uint64_t offset = guest_address - region.guest_address;
    if (offset > region.size || size > region.size - offset) continue;
    return {guest_address, memory_ + region.file_offset + offset, size};
  }
  LOG(FATAL) << "guest ram: nothing at " << guest_address << ", " << size << " bytes";
  return {};
}

}  // namespace gofer::vhost::driver
