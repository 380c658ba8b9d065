// DescriptorChain: one request of the guest, as buffers in our address space. A slot that is used
// again and again: VirtQueue::Take fills it, VirtQueue::Complete gives the request back.
//
// Every descriptor was copied once and judged as a copy; every buffer lies in the guest's memory,
// which stays mapped until Complete. What is in the buffers the guest may change at any moment.
// Nothing is allocated for a request of up to 128 KiB, nor for one of 1 MiB but the slot's first.
//
// Owner:   whoever serves the queue; must outlive the request it holds.
// Threads: one at a time.
// Errors:  fault() says why a chain is not a request, see there.
// Source:  VIRTIO 1.2 s.2.7.4 to 2.7.5; spec/vhost-user-fs.md s.9.3 and 11.

#ifndef VHOST_VIRTQUEUE_DESCRIPTOR_CHAIN_H_
#define VHOST_VIRTQUEUE_DESCRIPTOR_CHAIN_H_

#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "absl/strings/string_view.h"

namespace gofer::vhost {

struct MemoryUse;  // VirtQueue's

class DescriptorChain {
 public:
  // A megabyte in halves of pages. More would be no use to anybody, and cost memory of ours for
  // each request that a guest has in flight.
  static constexpr uint32_t kMaxPieces = 2048;

  // What is wrong with a chain: the rows of spec/vhost-user-fs.md s.11.
  enum class Fault : uint8_t {
    kNone,
    kNextOutOfTable,
    kLoop,
    kIndirectSize,  // not a multiple of 16, zero, or more entries than a chain may have
    kIndirectInIndirect,
    kIndirectWithNext,
    kIndirectNotMapped,
    kAddressOverflow,
    kNotMapped,  // a buffer outside of the memory that the front-end shares
    kReadableAfterWritable,
    kTooLong,  // 4 GiB or more in one direction
    kTooManyPieces,
  };

  DescriptorChain() = default;
  DescriptorChain(const DescriptorChain&) = delete;
  DescriptorChain& operator=(const DescriptorChain&) = delete;

  // What the guest wrote for us, and the room that it gives for the answer. Neighbouring buffers
  // are one piece; a buffer across a border of regions is two.
  std::span<const iovec> in() const { return {pieces_, in_count_}; }
  std::span<const iovec> out() const { return {pieces_ + in_count_, count_ - in_count_}; }
  uint32_t in_bytes() const { return in_bytes_; }
  uint32_t out_bytes() const { return out_bytes_; }

  // A chain with a fault is no request: it is to be given back, with an error or with nothing
  // written. In and out are then the beginnings of both, up to the first byte in doubt: room for an
  // error, where there is any.
  Fault fault() const { return fault_; }
  // The index that the guest knows it by.
  uint16_t head() const { return head_; }

  static absl::string_view Name(Fault fault);

 private:
  friend class ChainWalk;
  friend class VirtQueue;

  // 128 KiB of pages that are no neighbours, and headers. There may be as many slots as requests.
  static constexpr uint32_t kOwnPieces = 40;
  // Linux makes up to 256 pages and four headers of it; room for that is kept once it was needed.
  static constexpr uint32_t kKeptPieces = 320;

  // Makes it an empty chain again.
  void Reset(uint16_t head);
  // Appends a piece, or makes the last one longer. False: there are kMaxPieces already. A readable
  // one never comes after a writable one.
  bool Append(std::span<std::byte> piece, bool writable) {
    const uint32_t first = writable ? in_count_ : 0;
    if (count_ > first) {
      iovec& last = pieces_[count_ - 1];
      if (static_cast<std::byte*>(last.iov_base) + last.iov_len == piece.data()) {
        last.iov_len += piece.size();
        return true;
      }
    }
    if (count_ == capacity_ && !Grow()) [[unlikely]]
      return false;
    pieces_[count_++] = {.iov_base = piece.data(), .iov_len = piece.size()};
    if (!writable) in_count_ = count_;
    return true;
  }
  bool Grow();

  std::array<iovec, kOwnPieces> own_;
  std::unique_ptr<iovec[]> more_;
  // First those that are read, then those that are written: in own_ or in more_.
  iovec* pieces_ = own_.data();
  uint32_t count_ = 0;
  uint32_t in_count_ = 0;
  uint32_t capacity_ = kOwnPieces;
  uint32_t in_bytes_ = 0;
  uint32_t out_bytes_ = 0;
  uint16_t head_ = 0;
  Fault fault_ = Fault::kNone;
  // VirtQueue's: the table that the pieces are in, and in which of its regions.
  MemoryUse* memory_use_ = nullptr;
  uint64_t regions_ = 0;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_DESCRIPTOR_CHAIN_H_
