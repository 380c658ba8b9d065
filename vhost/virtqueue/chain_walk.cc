#include "vhost/virtqueue/chain_walk.h"

#include <array>
#include <span>

namespace gofer::vhost {

void ChainWalk::Walk(uint16_t head, DescriptorChain& chain) {
  chain.Reset(head);
  in_cut_ = false;
  out_cut_ = false;
  uint16_t index = head;
  for (uint32_t walked = 1;; ++walked) {
    const Descriptor descriptor = ring_.DescriptorAt(index);
    const bool more = (descriptor.flags & kDescriptorNext) != 0;
    if ((descriptor.flags & kDescriptorIndirect) != 0) {
      if (more) {
        Fail(Fault::kIndirectWithNext, chain);
      } else {
        WalkIndirect(descriptor, chain);
      }
      return;
    }
    if (!Add(descriptor, chain) || !more) return;
    if (walked == ring_.size()) {
      Fail(Fault::kLoop, chain);
      return;
    }
    if (descriptor.next >= ring_.size()) {
      Fail(Fault::kNextOutOfTable, chain);
      return;
    }
    index = descriptor.next;
  }
}

void ChainWalk::WalkIndirect(const Descriptor& table, DescriptorChain& chain) {
  const size_t count = table.size_bytes / sizeof(Descriptor);
  if (count == 0 || table.size_bytes % sizeof(Descriptor) != 0 || count > limit()) {
    Fail(Fault::kIndirectSize, chain);
    return;
  }
  // Nearly always it is in one piece and aligned; otherwise entries are gathered one by one.
  const std::span<std::byte> whole = memory_.Piece(table.address, table.size_bytes, hint_);
  const bool direct = whole.size() == table.size_bytes &&
                      reinterpret_cast<uintptr_t>(whole.data()) % alignof(uint64_t) == 0;
  if (!direct && !memory_.Contains(table.address, table.size_bytes, hint_)) {
    Fail(Fault::kIndirectNotMapped, chain);
    return;
  }
  size_t index = 0;
  for (size_t walked = 1;; ++walked) {
    Descriptor descriptor;
    const size_t offset = sizeof(Descriptor) * index;
    if (direct) {
      descriptor = SplitRing::CopyDescriptor(whole.data() + offset);
    } else if (!memory_.CopyOut(table.address + offset,
                                std::as_writable_bytes(std::span(&descriptor, 1)), hint_)) {
      Fail(Fault::kIndirectNotMapped, chain);
      return;
    }
    if ((descriptor.flags & kDescriptorIndirect) != 0) {
      Fail(Fault::kIndirectInIndirect, chain);
      return;
    }
    if (!Add(descriptor, chain) || (descriptor.flags & kDescriptorNext) == 0) return;
    if (walked == count) {
      Fail(Fault::kLoop, chain);
      return;
    }
    if (descriptor.next >= count) {
      Fail(Fault::kNextOutOfTable, chain);
      return;
    }
    index = descriptor.next;
  }
}

bool ChainWalk::Add(const Descriptor& descriptor, DescriptorChain& chain) {
  const bool writable = (descriptor.flags & kDescriptorWrite) != 0;
  uint64_t address = descriptor.address;
  uint64_t rest = descriptor.size_bytes;
  if (rest == 0) return true;  // no buffer; old drivers make them
  if (!writable && (chain.count_ != chain.in_count_ || out_cut_)) {
    return Fail(Fault::kReadableAfterWritable, chain);
  }
  bool& cut = writable ? out_cut_ : in_cut_;
  if (cut) return true;
  uint32_t& total = writable ? chain.out_bytes_ : chain.in_bytes_;
  if (rest > UINT32_MAX - total) return Fail(Fault::kTooLong, chain);
  if (rest - 1 > UINT64_MAX - address) return Fail(Fault::kAddressOverflow, chain);
  while (rest > 0) {
    const std::span<std::byte> piece = memory_.Piece(address, rest, hint_);
    if (piece.empty()) {
      // The other buffers may well be there, and the guest wants to know that this one is not.
      Fail(Fault::kNotMapped, chain);
      cut = true;
      return true;
    }
    if (!chain.Append(piece, writable)) return Fail(Fault::kTooManyPieces, chain);
    chain.regions_ |= GuestMemory::SetOf(hint_);
    total += static_cast<uint32_t>(piece.size());
    address += piece.size();
    rest -= piece.size();
  }
  return true;
}

bool ChainWalk::Fail(Fault fault, DescriptorChain& chain) {
  if (chain.fault_ == Fault::kNone) chain.fault_ = fault;
  return false;
}

}  // namespace gofer::vhost
