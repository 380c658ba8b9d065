#include "vhost/virtqueue/descriptor_chain.h"

#include <algorithm>

namespace gofer::vhost {

void DescriptorChain::Reset(uint16_t head) {
  if (capacity_ > kKeptPieces) [[unlikely]] {
    more_.reset();
    pieces_ = own_.data();
    capacity_ = kOwnPieces;
  }
  count_ = 0;
  in_count_ = 0;
  in_bytes_ = 0;
  out_bytes_ = 0;
  head_ = head;
  fault_ = Fault::kNone;
  regions_ = 0;
}

bool DescriptorChain::Grow() {
  if (count_ >= kMaxPieces) return false;
  const uint32_t capacity = capacity_ < kKeptPieces ? kKeptPieces : kMaxPieces;
  auto more = std::make_unique_for_overwrite<iovec[]>(capacity);
  std::copy_n(pieces_, count_, more.get());
  more_ = std::move(more);
  pieces_ = more_.get();
  capacity_ = capacity;
  return true;
}

absl::string_view DescriptorChain::Name(Fault fault) {
  switch (fault) {
    case Fault::kNone:
      return "none";
    case Fault::kNextOutOfTable:
      return "next descriptor is not in the table";
    case Fault::kLoop:
      return "more descriptors than the table has";
    case Fault::kIndirectSize:
      return "size of an indirect table";
    case Fault::kIndirectInIndirect:
      return "indirect table in an indirect table";
    case Fault::kIndirectWithNext:
      return "descriptor after an indirect table";
    case Fault::kIndirectNotMapped:
      return "indirect table is not in guest memory";
    case Fault::kAddressOverflow:
      return "buffer wraps around";
    case Fault::kNotMapped:
      return "buffer is not in guest memory";
    case Fault::kReadableAfterWritable:
      return "readable buffer after a writable one";
    case Fault::kTooLong:
      return "4 GiB or more in one direction";
    case Fault::kTooManyPieces:
      return "too many pieces";
  }
  return "unknown";
}

}  // namespace gofer::vhost
