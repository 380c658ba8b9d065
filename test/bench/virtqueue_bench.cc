// What a ring costs: taking one request off it, giving it back and deciding about the interrupt, by
// the shape of the request and by how many come at once; beside a loop of the barest kind over the
// same descriptors, which checks nothing, as the floor. The guest's side is played in between and
// is a few stores.
//
//   bazel run //test/bench:virtqueue_bench

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "glog/logging.h"
#include "gofer/base/ref_ptr.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::vhost {
namespace {

constexpr uint64_t kBuffers = TestGuest::kFar;
constexpr uint64_t kTables = TestGuest::kNext;
constexpr uint32_t kRingSize = 1024;

// Requests as Linux makes them: two readable buffers, then `writable` ones, in an indirect table.
class Guest {
 public:
  Guest(uint32_t batch, uint32_t writable)
      : ring_(guest_, kRingSize, TestGuest::kLow, /*event_idx=*/true), batch_(batch) {
    memory_ = guest_.Memory();
    located_ = *SplitRing::Locate(*memory_, kRingSize, ring_.config().addresses);
    for (uint16_t i = 0; i < batch; ++i) {
      const uint64_t table = kTables + 0x2000 * i;
      auto* const entries = reinterpret_cast<Descriptor*>(guest_.At(table));
      const uint32_t count = 2 + writable;
      for (uint32_t k = 0; k < count; ++k) {
        // Pages that are no neighbours: as many pieces as buffers.
        entries[k] = {kBuffers + 0x1000 * ((k * 2 + i) % 256), k < 2 ? 40u : 4096u,
                      static_cast<uint16_t>((k + 1 < count ? kDescriptorNext : 0) |
                                            (k < 2 ? 0 : kDescriptorWrite)),
                      static_cast<uint16_t>(k + 1)};
      }
      ring_.Set(i,
                {table, static_cast<uint32_t>(sizeof(Descriptor) * count), kDescriptorIndirect, 0});
    }
  }

  const TestRing& ring() const { return ring_; }
  const SplitRing& located() const { return located_; }
  const RefPtr<const GuestMemory>& memory() const { return memory_; }

  void Offer() {
    for (uint16_t i = 0; i < batch_; ++i) ring_.Offer(i);
    // It wants to hear of the last one, and polls meanwhile.
    ring_.UsedEvent().store(static_cast<uint16_t>(ring_.AvailableIndex() + 0x4000));
  }

 private:
  TestGuest guest_;
  TestRing ring_;
  SplitRing located_;
  RefPtr<const GuestMemory> memory_;
  const uint32_t batch_;
};

void BM_TakeCompleteNotify(benchmark::State& state) {
  const auto batch = static_cast<uint32_t>(state.range(0));
  Guest guest(batch, static_cast<uint32_t>(state.range(1)));
  VirtQueue queue(0);
  CHECK(queue.Start(guest.ring().config(), 0, guest.memory(), nullptr).ok());
  queue.Resume();
  auto chains = std::make_unique<std::array<DescriptorChain, 64>>();
  std::vector<DescriptorChain*> slots;
  for (uint32_t i = 0; i < batch; ++i) slots.push_back(&(*chains)[i]);
  for (auto _ : state) {
    guest.Offer();
    const size_t taken = queue.Take(slots);
    CHECK_EQ(taken, batch);
    for (DescriptorChain* chain : slots) queue.Complete(*chain, 16);
    queue.Notify();
  }
  CHECK_EQ(queue.counters().malformed, 0u);
  state.SetItemsProcessed(state.iterations() * batch);
}

void BM_Floor(benchmark::State& state) {
  const auto batch = static_cast<uint32_t>(state.range(0));
  Guest guest(batch, static_cast<uint32_t>(state.range(1)));
  const SplitRing& ring = guest.located();
  GuestMemory::Hint low, far;
  std::array<iovec, 320> pieces;
  uint16_t next = 0;
  for (auto _ : state) {
    guest.Offer();
    for (const uint16_t end = ring.AvailableIndex(); next != end; ++next) {
      const uint16_t head = ring.AvailableHead(next);
      const Descriptor table = ring.DescriptorAt(head);
      const std::byte* const entries =
          guest.memory()->Piece(table.address, table.size_bytes, low).data();
      const size_t count = table.size_bytes / sizeof(Descriptor);
      for (size_t i = 0; i < count; ++i) {
        const Descriptor entry = SplitRing::CopyDescriptor(entries + sizeof(Descriptor) * i);
        const auto piece = guest.memory()->Piece(entry.address, entry.size_bytes, far);
        pieces[i] = {.iov_base = piece.data(), .iov_len = piece.size()};
      }
      benchmark::DoNotOptimize(pieces.data());
      benchmark::ClobberMemory();
      ring.StoreUsed(next, {.head = head, .written_bytes = 16});
      ring.PublishUsed(static_cast<uint16_t>(next + 1));
    }
  }
  state.SetItemsProcessed(state.iterations() * batch);
}

// One request at a time and sixteen; a GETATTR, a READ of 4 KiB, one of 128 KiB, one of 1 MiB.
const std::vector<std::vector<int64_t>> kShapes = {{1, 16}, {2, 3, 34, 258}};
BENCHMARK(BM_TakeCompleteNotify)->ArgNames({"batch", "writable"})->ArgsProduct(kShapes);
BENCHMARK(BM_Floor)->ArgNames({"batch", "writable"})->ArgsProduct(kShapes);

}  // namespace
}  // namespace gofer::vhost

BENCHMARK_MAIN();
