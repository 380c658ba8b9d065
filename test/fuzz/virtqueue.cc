// Fuzzes a queue on a ring that a guest fills with anything, and a front-end that changes memory,
// log and in-flight region under it. Whatever is taken lies in the guest's memory, in the sizes it
// says; what is given back is published once; nothing is written beside the guest's memory, and the
// queue always comes to rest.
// Input: a byte for the ring's size and kind, one for how it starts, then steps of 16 bytes.

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/memory_map.h"
#include "vhost/memory/dirty_log.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/virtqueue/inflight_region.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue.h"

namespace {

using gofer::BorrowedFd;
using gofer::RefPtr;
using gofer::UniqueFd;
using gofer::vhost::Completion;
using gofer::vhost::Descriptor;
using gofer::vhost::DescriptorChain;
using gofer::vhost::DirtyLog;
using gofer::vhost::GuestMemory;
using gofer::vhost::InflightLayout;
using gofer::vhost::InflightRegion;
using gofer::vhost::TestGuest;
using gofer::vhost::TestRing;
using gofer::vhost::VirtQueue;

constexpr size_t kMaxSteps = 128;
constexpr size_t kSlots = 24;
constexpr uint64_t kPlayground = 0x10000;  // of each region, what the guest writes to
constexpr uint64_t kTable = TestGuest::kFar + 0x8000;
constexpr uint64_t kRegions[] = {TestGuest::kLow, TestGuest::kNext, TestGuest::kFar,
                                 TestGuest::kHuge};

struct Step {
  uint8_t kind;
  uint8_t a;
  uint16_t b;
  uint32_t c;
  uint64_t d;
};
static_assert(sizeof(Step) == 16);

// What outlives a run: mapping takes longer than all else.
struct World {
  World() {
    FLAGS_minloglevel = google::GLOG_ERROR;  // broken rings are the rule here
    all = guest.Memory();
    without_far = guest.Memory({TestGuest::kLow, TestGuest::kNext, TestGuest::kHuge});
    without_ring = guest.Memory({TestGuest::kNext, TestGuest::kFar});
    layout = {.size = 0, .offset = 0, .num_queues = 1, .queue_size = 256};
    inflight_file = *InflightRegion::Create(layout);
    inflight = *InflightRegion::Map(layout, inflight_file, BorrowedFd());
    // Covers the low regions alone: most of the huge one is beyond it.
    auto log_file = gofer::sys::CreateSealedMemory("log", 4096);
    CHECK(log_file.ok());
    log = *DirtyLog::Map(*log_file, 0, 4096, BorrowedFd());
  }

  TestGuest guest;
  RefPtr<const GuestMemory> all, without_far, without_ring;
  InflightLayout layout;
  UniqueFd inflight_file;
  RefPtr<const InflightRegion> inflight;
  RefPtr<const DirtyLog> log;
};

World& TheWorld() {
  static auto* const world = new World;
  return *world;
}

class Run {
 public:
  Run(World& world, uint8_t kind, uint8_t start)
      : world_(world),
        ring_(world.guest, 1u << kind % 9, TestGuest::kLow, (kind & 0x80) != 0),
        queue_(0) {
    for (const uint64_t region : kRegions) {
      std::memset(world_.guest.At(region), 0, kPlayground);
    }
    const std::vector<char> zeroes(world_.layout.size, 0);
    PCHECK(pwrite(world_.inflight_file.get(), zeroes.data(), zeroes.size(), 0) ==
           static_cast<ssize_t>(zeroes.size()));
    const auto index = static_cast<uint16_t>(65536 - start);
    ring_.StartAt(index);
    Start(index, (kind & 0x40) != 0);
    for (DescriptorChain& chain : chains_) free_.push_back(&chain);
  }

  ~Run() {
    queue_.Halt();
    while (!held_.empty()) Complete(1, 0);
    CHECK(queue_.WaitIdle(absl::ZeroDuration()));
    CHECK(queue_.SetMemory(world_.all, absl::ZeroDuration()));
    CHECK(world_.guest.CanariesLive());
  }

  void Do(const Step& step) {
    switch (step.kind % 14) {
      case 0:
        return ring_.Set(static_cast<uint16_t>(step.b % ring_.size()), DescriptorOf(step));
      case 1:
        return Put(kTable + sizeof(Descriptor) * (step.b % 1024), DescriptorOf(step));
      case 2:
        return ring_.Offer(step.b);
      case 3:
        return ring_.Offer(static_cast<uint16_t>(step.b % ring_.size()));
      case 4:
        return ring_.AvailableIndex().store(step.b);
      case 5:
        return (step.a % 2 == 0 ? ring_.AvailableFlags() : ring_.UsedEvent()).store(step.b);
      case 6:
        return (step.a % 2 == 0 ? ring_.UsedIndex() : ring_.AvailableEvent()).store(step.b);
      case 7:
        return Take(step.a % kSlots);
      case 8:
        return Complete(step.a % kSlots, step.c);
      case 9:
        queue_.Notify();
        queue_.HasWork();
        return step.a % 2 == 0 ? void(queue_.ArmKicks()) : queue_.DisarmKicks();
      case 10:
        queue_.SetMemory(step.a % 3 == 0   ? world_.all
                         : step.a % 3 == 1 ? world_.without_far
                                           : world_.without_ring,
                         absl::ZeroDuration());
        return;
      case 11:
        return queue_.SetDirtyLog(step.a % 2 == 0 ? world_.log : nullptr,
                                  step.a % 4 < 2 ? std::optional(step.d) : std::nullopt);
      case 12:
        return Put(kRegions[step.a % 4] + step.b, step.d);
      default:
        if (step.a % 2 == 0) {
          queue_.Stop();
          return Start(step.b, step.a % 4 == 0);
        }
        PCHECK(pwrite(world_.inflight_file.get(), &step.d, sizeof(step.d),
                      static_cast<off_t>(step.b % (world_.layout.size - 8))) == 8);
    }
  }

 private:
  static Descriptor DescriptorOf(const Step& step) {
    const uint64_t offset = step.d & 0xffffffffffff;
    const int where = step.a >> 4 & 7;
    return {.address = where < 4   ? kRegions[where] + offset % kPlayground
                       : where < 6 ? TestGuest::kNext - offset % 64
                                   : step.d,
            .size_bytes = (step.a & 8) != 0 ? step.c : step.c % 0x2000,
            .flags = static_cast<uint16_t>(step.a & 7),
            .next = static_cast<uint16_t>(step.d >> 48)};
  }

  template <typename T>
  void Put(uint64_t address, const T& value) {
    std::memcpy(world_.guest.At(address), &value, sizeof(value));
  }

  void Start(uint16_t next, bool tracked) {
    const absl::Status started =
        queue_.Start(ring_.config(), next, world_.all, tracked ? world_.inflight : nullptr);
    // The region may be of another version by now; the ring is always possible.
    CHECK(started.ok() || tracked) << started;
    queue_.Resume();
  }

  void Take(size_t most) {
    std::vector<DescriptorChain*> slots(
        free_.begin(), free_.begin() + static_cast<ptrdiff_t>(std::min(most, free_.size())));
    const size_t taken = queue_.Take(slots);
    CHECK_LE(taken, slots.size());
    for (size_t i = 0; i < taken; ++i) {
      Inspect(*free_.front());
      held_.push_back(free_.front());
      free_.pop_front();
    }
  }

  void Inspect(const DescriptorChain& chain) {
    CHECK_LT(chain.head(), ring_.size());
    CHECK_NE(DescriptorChain::Name(chain.fault()), "unknown");
    for (const bool out : {false, true}) {
      uint64_t sum = 0;
      for (const iovec& piece : out ? chain.out() : chain.in()) {
        CHECK_GT(piece.iov_len, 0u);
        sum += piece.iov_len;
        auto* const begin = static_cast<std::byte*>(piece.iov_base);
        const std::byte* at = begin;
        for (uint64_t left = piece.iov_len; left > 0;) {
          uint64_t rest = 0;
          // The newest table has all that an older one has, at the same places.
          CHECK(world_.all->GuestAddressOf(at, rest).has_value() ||
                world_.without_far->GuestAddressOf(at, rest).has_value() ||
                world_.without_ring->GuestAddressOf(at, rest).has_value());
          at += std::min(left, rest);
          left -= std::min(left, rest);
        }
        // It is there, both ends of it.
        const size_t some = std::min<size_t>(piece.iov_len, 16);
        if (out) {
          std::memset(begin, 0xa5, some);
          std::memset(begin + piece.iov_len - some, 0xa5, some);
        } else {
          std::array<std::byte, 16> copy;
          std::memcpy(copy.data(), begin, some);
          std::memcpy(copy.data(), begin + piece.iov_len - some, some);
        }
      }
      CHECK_EQ(sum, out ? chain.out_bytes() : chain.in_bytes());
    }
  }

  void Complete(size_t count, uint32_t written) {
    std::vector<Completion> done;
    while (done.size() < count && !held_.empty()) {
      DescriptorChain* const chain = held_.front();
      held_.pop_front();
      done.push_back({chain, std::min(written, chain->out_bytes())});
      free_.push_back(chain);
    }
    const uint64_t before = queue_.outstanding();
    queue_.Complete(done);
    CHECK_EQ(queue_.outstanding(), before - done.size());
  }

  World& world_;
  TestRing ring_;
  VirtQueue queue_;
  std::array<DescriptorChain, kSlots> chains_;
  std::deque<DescriptorChain*> free_;
  std::deque<DescriptorChain*> held_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  Run run(TheWorld(), data[0], data[1]);
  data += 2;
  size -= 2;
  for (size_t i = 0; i < kMaxSteps && size >= sizeof(Step); ++i) {
    Step step;
    std::memcpy(&step, data, sizeof(step));
    run.Do(step);
    data += sizeof(step);
    size -= sizeof(step);
  }
  return 0;
}
