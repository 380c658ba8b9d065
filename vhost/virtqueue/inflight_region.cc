#include "vhost/virtqueue/inflight_region.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/memory_map.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost {

// As the protocol lays them out; other back-ends read them.
struct InflightQueue::Header {
  std::atomic<uint64_t> features;
  std::atomic<uint16_t> version;
  std::atomic<uint16_t> desc_num;
  std::atomic<uint16_t> last_batch_head;
  std::atomic<uint16_t> used_idx;
};

struct InflightQueue::Entry {
  std::atomic<uint8_t> inflight;
  uint8_t padding[5];
  std::atomic<uint16_t> next;
  std::atomic<uint64_t> counter;
};

namespace {

constexpr size_t kHeaderSize = 16;
constexpr size_t kEntrySize = 16;
constexpr uint16_t kVersion = 1;
constexpr uint32_t kMaxQueues = 256;

constexpr uint64_t Stride(uint16_t queue_size) {
  return (kHeaderSize + kEntrySize * uint64_t{queue_size} + 63) & ~uint64_t{63};
}

absl::Status CheckCounts(const InflightLayout& layout) {
  if (layout.num_queues == 0 || layout.num_queues > kMaxQueues || layout.queue_size == 0 ||
      layout.queue_size > kMaxRingSize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("in-flight region: %d queues of %d, limits %d, %d", layout.num_queues,
                        layout.queue_size, kMaxQueues, kMaxRingSize));
  }
  return absl::OkStatus();
}

}  // namespace

InflightQueue::Header& InflightQueue::header() const {
  static_assert(sizeof(Header) == kHeaderSize);
  return *reinterpret_cast<Header*>(memory_);
}

InflightQueue::Entry& InflightQueue::entry(uint16_t head) const {
  static_assert(sizeof(Entry) == kEntrySize);
  return *reinterpret_cast<Entry*>(memory_ + kHeaderSize + kEntrySize * head);
}

absl::StatusOr<InflightQueue::Recovered> InflightQueue::Open(uint32_t ring_size,
                                                             uint16_t used_index) {
  if (ring_size > capacity_) {
    return absl::InvalidArgumentError(
        absl::StrFormat("in-flight region: a ring of %d, room for %d", ring_size, capacity_));
  }
  const uint16_t version = header().version.load(std::memory_order_acquire);
  if (version == 0) {
    header().desc_num.store(capacity_, std::memory_order_relaxed);
    header().used_idx.store(used_index, std::memory_order_relaxed);
    header().version.store(kVersion, std::memory_order_release);
    return Recovered{.fresh = true, .heads = {}};
  }
  const uint16_t desc_num = header().desc_num.load(std::memory_order_relaxed);
  if (version != kVersion || desc_num != capacity_) {
    return absl::InvalidArgumentError(
        absl::StrFormat("in-flight region: version %d for rings of %d, expected %d, %d", version,
                        desc_num, kVersion, capacity_));
  }
  // Published, but not all cleared: the batch is the list that was linked last.
  const uint16_t unsettled =
      static_cast<uint16_t>(used_index - header().used_idx.load(std::memory_order_relaxed));
  uint16_t head = header().last_batch_head.load(std::memory_order_relaxed);
  for (uint32_t i = 0; i < std::min<uint32_t>(unsettled, ring_size) && head < ring_size; ++i) {
    Clear(head);
    head = entry(head).next.load(std::memory_order_relaxed);
  }
  Settle(used_index);

  std::vector<std::pair<uint64_t, uint16_t>> found;
  for (uint32_t i = 0; i < ring_size; ++i) {
    const auto at = static_cast<uint16_t>(i);
    if (entry(at).inflight.load(std::memory_order_relaxed) == 0) continue;
    found.emplace_back(entry(at).counter.load(std::memory_order_relaxed), at);
  }
  std::sort(found.begin(), found.end());
  Recovered recovered;
  recovered.heads.reserve(found.size());
  for (const std::pair<uint64_t, uint16_t>& one : found) recovered.heads.push_back(one.second);
  if (!found.empty()) last_counter_ = found.back().first;
  return recovered;
}

void InflightQueue::Take(uint16_t head) {
  entry(head).counter.store(++last_counter_, std::memory_order_relaxed);
  entry(head).inflight.store(1, std::memory_order_release);
}

void InflightQueue::Link(uint16_t head) {
  entry(head).next.store(header().last_batch_head.load(std::memory_order_relaxed),
                         std::memory_order_relaxed);
  header().last_batch_head.store(head, std::memory_order_release);
}

void InflightQueue::Clear(uint16_t head) {
  entry(head).inflight.store(0, std::memory_order_release);
}

void InflightQueue::Settle(uint16_t used_index) {
  header().used_idx.store(used_index, std::memory_order_release);
}

absl::StatusOr<UniqueFd> InflightRegion::Create(InflightLayout& layout) {
  RETURN_IF_ERROR(CheckCounts(layout));
  layout.size = layout.num_queues * Stride(layout.queue_size);
  layout.offset = 0;
  ErrnoOr<UniqueFd> file = sys::CreateSealedMemory("vhost-inflight", layout.size);
  if (!file.ok()) return ToStatus(file.error(), "in-flight region: create");
  return *std::move(file);
}

absl::StatusOr<RefPtr<const InflightRegion>> InflightRegion::Map(const InflightLayout& layout,
                                                                 BorrowedFd file,
                                                                 BorrowedFd on_break) {
  RETURN_IF_ERROR(CheckCounts(layout));
  const uint64_t needed = layout.num_queues * Stride(layout.queue_size);
  if (layout.size < needed || layout.offset % alignof(uint64_t) != 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "in-flight region: %#x bytes at offset %#x for %d queues of %d, which need %#x",
        layout.size, layout.offset, layout.num_queues, layout.queue_size, needed));
  }
  ErrnoOr<sys::PeerMemory> memory = sys::PeerMemory::Map(file, layout.offset, needed, on_break);
  if (!memory.ok()) return ToStatus(memory.error(), "in-flight region: map");
  return RefPtr<const InflightRegion>::Adopt(new InflightRegion(layout, *std::move(memory)));
}

InflightQueue InflightRegion::Queue(uint32_t index) const {
  if (index >= layout_.num_queues) return InflightQueue();
  return InflightQueue(memory_.bytes().data() + index * Stride(layout_.queue_size),
                       layout_.queue_size);
}

}  // namespace gofer::vhost
