// TestGuest and TestRing: the least that plays a guest in unit tests of rings: memory in a real
// memory file, mapped a second time, and a ring of which every field can be written.
//
// Owner:   tests. Threads: a ring's driver side is one thread.
// Errors:  what cannot be set up ends the test program.

#ifndef VHOST_VIRTQUEUE_TEST_RING_H_
#define VHOST_VIRTQUEUE_TEST_RING_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/ring_layout.h"
#include "vhost/virtqueue/split_ring.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::vhost {

// Two regions that are neighbours for the guest but not in the file, one far away, and one that is
// large and has no memory behind it until it is touched. Around each, in the file, is a page that
// is nobody's.
class TestGuest {
 public:
  static constexpr uint64_t kPage = 4096;
  static constexpr uint64_t kLow = 0x100000;
  static constexpr uint64_t kNext = 0x200000;  // where kLow's region ends
  static constexpr uint64_t kFar = 0x800000;
  static constexpr uint64_t kRegionSize = 0x100000;
  static constexpr uint64_t kHuge = uint64_t{1} << 40;
  static constexpr uint64_t kHugeSize = uint64_t{1} << 30;

  TestGuest();
  TestGuest(const TestGuest&) = delete;
  TestGuest& operator=(const TestGuest&) = delete;
  ~TestGuest();

  // The address that the front-end has something at.
  static uint64_t User(uint64_t address) { return address + (uint64_t{1} << 45); }
  GuestMemory::NewRegion Region(uint64_t address) const;
  RefPtr<const GuestMemory> Memory() const { return Memory({kLow, kNext, kFar, kHuge}); }
  RefPtr<const GuestMemory> Memory(const std::vector<uint64_t>& addresses) const;

  // The guest's own view of its memory.
  std::byte* At(uint64_t address) const;
  void Put(uint64_t address, absl::string_view text) const {
    std::memcpy(At(address), text.data(), text.size());
  }
  std::string Get(uint64_t address, size_t size) const {
    return {reinterpret_cast<const char*>(At(address)), size};
  }
  BorrowedFd file() const { return file_; }
  // Nothing was written to the pages between the regions.
  bool CanariesLive() const;

 private:
  UniqueFd file_;
  std::byte* base_ = nullptr;
};

class TestRing {
 public:
  // `at` is where the ring is put; it takes less than 0x100000 bytes even at its largest.
  TestRing(const TestGuest& guest, uint32_t size, uint64_t at = TestGuest::kLow,
           bool event_idx = false);

  RingConfig config() const;

  void Set(uint16_t index, const Descriptor& descriptor) const;
  // Descriptors from `first` on, one after the other, the flags NEXT added; gives `first`.
  uint16_t Chain(uint16_t first, std::span<const Descriptor> descriptors) const;
  // Makes a chain available.
  void Offer(uint16_t head);

  std::atomic<uint16_t>& AvailableFlags() const { return Field(available_); }
  std::atomic<uint16_t>& AvailableIndex() const { return Field(available_ + kIndexOffset); }
  std::atomic<uint16_t>& UsedEvent() const { return Field(available_ + UsedEventOffset(size_)); }
  std::atomic<uint16_t>& UsedFlags() const { return Field(used_); }
  std::atomic<uint16_t>& UsedIndex() const { return Field(used_ + kIndexOffset); }
  std::atomic<uint16_t>& AvailableEvent() const {
    return Field(used_ + AvailableEventOffset(size_));
  }
  // The answer at a free-running index.
  UsedElement Used(uint16_t index) const;
  // Starts at another index than 0.
  void StartAt(uint16_t index) const {
    AvailableIndex() = index;
    UsedIndex() = index;
  }

  uint64_t used_address() const { return used_; }
  uint32_t size() const { return size_; }

 private:
  std::atomic<uint16_t>& Field(uint64_t address) const {
    return *reinterpret_cast<std::atomic<uint16_t>*>(guest_.At(address));
  }

  const TestGuest& guest_;
  const uint32_t size_;
  const bool event_idx_;
  const uint64_t descriptors_;
  const uint64_t available_;
  const uint64_t used_;
};

}  // namespace gofer::vhost

#endif  // VHOST_VIRTQUEUE_TEST_RING_H_
