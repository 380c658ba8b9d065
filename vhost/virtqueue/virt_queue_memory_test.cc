// Memory that changes under a queue; the log of what it writes; what the next process finds.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "vhost/memory/dirty_log.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue_fixture.h"

namespace gofer::vhost {
namespace {

// ---- Memory that changes

TEST_F(VirtQueueTest, ARequestKeepsTheTableItIsIn) {
  Make(16);
  Offer(0);
  ASSERT_EQ(Take(), 1u);
  auto* const out = static_cast<char*>(slots_[0]->out()[0].iov_base);
  // The buffers' region goes away; the ring's stays.
  const auto smaller = guest_.Memory({TestGuest::kLow});
  EXPECT_FALSE(queue_->SetMemory(smaller, absl::Milliseconds(1)));
  std::memcpy(out, "still", 5);
  EXPECT_EQ(guest_.Get(kBuffers + 64, 5), "still");
  Answer(1);
  EXPECT_EQ(ring_->UsedIndex(), 1);
  EXPECT_TRUE(queue_->SetMemory(smaller, absl::ZeroDuration()));

  Offer(1);
  ASSERT_EQ(Take(), 1u);
  EXPECT_EQ(slots_[0]->fault(), DescriptorChain::Fault::kNotMapped) << "in the new table";
  Answer(1, 0);
  EXPECT_TRUE(queue_->SetMemory(guest_.Memory(), kLong));
  Offer(2);
  ASSERT_EQ(Take(), 1u);
  EXPECT_EQ(slots_[0]->fault(), DescriptorChain::Fault::kNone);
  Answer(1);
  EXPECT_EQ(ring_->UsedIndex(), 3);
}

TEST_F(VirtQueueTest, SetMemoryWaitsForTheLastRequestInTheOldTable) {
  Make(16);
  for (uint16_t i = 0; i < 3; ++i) Offer(i);
  ASSERT_EQ(Take(), 3u);
  std::atomic<int> answered{0};
  std::thread worker([&] {
    for (int i = 0; i < 3; ++i) {
      absl::SleepFor(absl::Milliseconds(10));
      ++answered;
      queue_->Complete(*slots_[static_cast<size_t>(i)], 0);
    }
  });
  EXPECT_TRUE(queue_->SetMemory(guest_.Memory(), kLong)) << "every region is mapped anew";
  EXPECT_EQ(answered, 3);
  worker.join();
}

// One that waits for a lock may wait for hours.
TEST_F(VirtQueueTest, SetMemoryDoesNotWaitForRequestsInOtherRegions) {
  const RefPtr<const GuestMemory> all = guest_.Memory();
  Make(16);
  ASSERT_TRUE(queue_->SetMemory(all, kLong));
  Offer(0);  // in the far region
  ring_->Offer(ring_->Chain(4, std::vector<Descriptor>{{TestGuest::kNext - 1, 2, 0, 0}}));
  ASSERT_EQ(Take(), 2u);

  const auto without_huge = *all->Without(guest_.Region(TestGuest::kHuge).layout);
  EXPECT_TRUE(queue_->SetMemory(without_huge, absl::ZeroDuration()));
  const auto added = *without_huge->With(guest_.Region(TestGuest::kHuge), BorrowedFd());
  EXPECT_TRUE(queue_->SetMemory(added, absl::ZeroDuration()));
  // The indices of regions are others by now, in the tables that the requests were taken with.
  const auto without_next = *added->Without(guest_.Region(TestGuest::kNext).layout);
  EXPECT_FALSE(queue_->SetMemory(without_next, absl::ZeroDuration()));
  EXPECT_FALSE(queue_->SetMemory(without_next, absl::ZeroDuration())) << "asked again";
  queue_->Complete(*slots_[1], 0);
  EXPECT_TRUE(queue_->SetMemory(without_next, absl::ZeroDuration()));
  const auto without_far = *without_next->Without(guest_.Region(TestGuest::kFar).layout);
  EXPECT_FALSE(queue_->SetMemory(without_far, absl::ZeroDuration()));
  std::memcpy(slots_[0]->out()[0].iov_base, "there", 5);
  queue_->Complete(*slots_[0], 5);
  EXPECT_EQ(guest_.Get(kBuffers + 64, 5), "there");
  EXPECT_TRUE(queue_->SetMemory(without_far, absl::ZeroDuration()));
}

// Asking again and again does not begin anew: what was taken meanwhile is not waited for.
TEST_F(VirtQueueTest, SetMemoryEndsUnderLoad) {
  Make(16);
  const RefPtr<const GuestMemory> next = guest_.Memory();
  Offer(0);
  ASSERT_EQ(Take(1), 1u);
  EXPECT_FALSE(queue_->SetMemory(next, absl::ZeroDuration()));
  Offer(1);
  ASSERT_EQ(queue_->Take(std::span(slots_).subspan(1, 1)), 1u);
  EXPECT_FALSE(queue_->SetMemory(next, absl::ZeroDuration()));
  queue_->Complete(*slots_[0], 0);
  EXPECT_TRUE(queue_->SetMemory(next, absl::ZeroDuration()));
  queue_->Complete(*slots_[1], 0);
}

TEST_F(VirtQueueTest, ARingWithoutMemoryTakesNothingUntilItHasSomeAgain) {
  Make(16);
  Offer(0);
  Offer(1);
  ASSERT_EQ(Take(1), 1u);
  EXPECT_FALSE(queue_->SetMemory(guest_.Memory({TestGuest::kFar}), absl::Milliseconds(1)));
  EXPECT_EQ(Take(), 0u);
  EXPECT_TRUE(queue_->ArmKicks());
  EXPECT_FALSE(queue_->broken());
  Answer(1);
  EXPECT_EQ(ring_->UsedIndex(), 1) << "what was taken is not lost";
  EXPECT_TRUE(queue_->SetMemory(guest_.Memory(), kLong));
  EXPECT_EQ(Take(), 1u);
  Answer(1);
  EXPECT_EQ(ring_->UsedIndex(), 2);
}

TEST_F(VirtQueueTest, MemoryThatIsCutUnderARing) {
  Make(16);
  for (uint16_t i = 0; i < 3; ++i) Offer(i);
  ASSERT_EQ(Take(1), 1u);
  ASSERT_EQ(ftruncate(guest_.file().get(), 0), 0);
  Answer(1);
  queue_->Notify();
  // All is zero now: an available index that went back, or an empty ring of zeroes.
  Take();
  queue_->ArmKicks();
  queue_->Halt();
  EXPECT_TRUE(queue_->WaitIdle(kLong));
}

// ---- Dirty log

class Log {
 public:
  Log() : file_(memfd_create("log", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(file_.get(), 4096), 0);
    log_ = *DirtyLog::Map(file_, 0, 4096, BorrowedFd());
  }
  RefPtr<const DirtyLog> log() const { return log_; }
  // The pages marked since the last time.
  std::set<uint64_t> Take() {
    std::set<uint64_t> pages;
    std::vector<uint8_t> bits(4096);
    EXPECT_EQ(pread(file_.get(), bits.data(), bits.size(), 0), 4096);
    for (uint64_t page = 0; page < bits.size() * 8; ++page) {
      if ((bits[page / 8] >> (page % 8) & 1) != 0) pages.insert(page * DirtyLog::kPageSize);
    }
    std::fill(bits.begin(), bits.end(), 0);
    EXPECT_EQ(pwrite(file_.get(), bits.data(), bits.size(), 0), 4096);
    return pages;
  }

 private:
  UniqueFd file_;
  RefPtr<const DirtyLog> log_;
};

using Pages = std::set<uint64_t>;

TEST_F(VirtQueueTest, MarksExactlyWhatWasWritten) {
  Make(256);
  Log log;
  queue_->SetDirtyLog(log.log(), std::nullopt);
  auto answer = [&](std::vector<Descriptor> descriptors, uint32_t written) {
    ring_->Offer(ring_->Chain(0, descriptors));
    EXPECT_EQ(Take(), 1u);
    Answer(1, written);
    return log.Take();
  };
  const Descriptor in = {kBuffers, 40, 0, 0};
  const Descriptor header = {kBuffers + 0x1000, 16, kDescriptorWrite, 0};
  const Descriptor data = {kBuffers + 0x10000, 0x10000, kDescriptorWrite, 0};
  EXPECT_EQ(answer({in}, 0), Pages());
  EXPECT_EQ(answer({in, header, data}, 0), Pages());
  EXPECT_EQ(answer({in, header, data}, 16), (Pages{kBuffers + 0x1000}));
  EXPECT_EQ(answer({in, header, data}, 17), (Pages{kBuffers + 0x1000, kBuffers + 0x10000}));
  EXPECT_EQ(answer({in, header, data}, 16 + 0x2000),
            (Pages{kBuffers + 0x1000, kBuffers + 0x10000, kBuffers + 0x11000}));
  EXPECT_EQ(answer({in, header, data}, 16 + 0x2001),
            (Pages{kBuffers + 0x1000, kBuffers + 0x10000, kBuffers + 0x11000, kBuffers + 0x12000}));
  // Across a border of regions.
  EXPECT_EQ(answer({in, {TestGuest::kNext - 1, 2, kDescriptorWrite, 0}}, 2),
            (Pages{TestGuest::kNext - 0x1000, TestGuest::kNext}));
  EXPECT_EQ(answer({in, {TestGuest::kNext - 1, 2, kDescriptorWrite, 0}}, 1),
            (Pages{TestGuest::kNext - 0x1000}));
}

TEST_F(VirtQueueTest, MarksTheRingWhereThatIsWanted) {
  // Used ring: 4 bytes, 2048 elements of 8, the event: four pages and a bit.
  for (const bool event_idx : {false, true}) {
    Make(2048, event_idx);
    Log log;
    const uint64_t used = 0x300000;  // the address that it is logged at is the front-end's say
    queue_->SetDirtyLog(log.log(), used);
    EXPECT_TRUE(queue_->ArmKicks());
    EXPECT_EQ(log.Take(), event_idx ? (Pages{used + 0x4000}) : (Pages{used}));
    for (uint16_t i = 0; i < 3; ++i) {
      ring_->Set(i, {kBuffers, 8, 0, 0});
      ring_->Offer(i);
    }
    ASSERT_EQ(Take(), 3u);
    EXPECT_EQ(log.Take(), Pages());
    Answer(3, 0);
    EXPECT_EQ(log.Take(), (Pages{used}));
    queue_->DisarmKicks();
    EXPECT_EQ(log.Take(), event_idx ? Pages() : (Pages{used}));
    // Elements on the third page: the index is marked too.
    for (int i = 0; i < 1030; ++i) {
      ring_->Offer(0);
      ASSERT_EQ(Take(), 1u);
      Answer(1, 0);
      if (i == 1026) log.Take();
    }
    EXPECT_EQ(log.Take(), (Pages{used, used + 0x2000}));
  }
}

TEST_F(VirtQueueTest, AnAnswerIsMarkedThoughItsTableIsReplaced) {
  Make(16);
  Log log;
  queue_->SetDirtyLog(log.log(), std::nullopt);
  const RefPtr<const GuestMemory> all = guest_.Memory();
  ASSERT_TRUE(queue_->SetMemory(all, kLong));
  Offer(0);
  ASSERT_EQ(Take(), 1u);
  ASSERT_TRUE(queue_->SetMemory(*all->Without(guest_.Region(TestGuest::kNext).layout), kLong));
  Answer(1, 16);
  EXPECT_EQ(log.Take(), (Pages{kBuffers}));
}

TEST_F(VirtQueueTest, ALogThatIsReplacedIsLeftAlone) {
  Make(16);
  Log first;
  Log second;
  queue_->SetDirtyLog(first.log(), std::nullopt);
  for (uint16_t i = 0; i < 3; ++i) Offer(i);
  ASSERT_EQ(Take(), 3u);
  queue_->Complete(*slots_[0], 16);
  EXPECT_EQ(first.Take(), (Pages{kBuffers}));
  queue_->SetDirtyLog(second.log(), std::nullopt);
  queue_->Complete(*slots_[1], 16);
  EXPECT_EQ(first.Take(), Pages());
  EXPECT_EQ(second.Take(), (Pages{kBuffers}));
  queue_->SetDirtyLog(nullptr, std::nullopt);
  queue_->Complete(*slots_[2], 16);
  EXPECT_EQ(second.Take(), Pages());
}

// ---- In-flight region

TEST_F(VirtQueueTest, TheNextProcessServesWhatThisOneTook) {
  InflightLayout layout{.size = 0, .offset = 0, .num_queues = 1, .queue_size = 16};
  const UniqueFd file = *InflightRegion::Create(layout);
  auto region = [&] { return *InflightRegion::Map(layout, file, BorrowedFd()); };
  for (const uint16_t start : Indices{0, 65534}) {
    ASSERT_EQ(pwrite(file.get(), std::string(layout.size, '\0').data(), layout.size, 0),
              static_cast<ssize_t>(layout.size));
    Make(16, false, start);
    queue_->Stop();
    ASSERT_TRUE(Start(start, region()).ok());
    queue_->Resume();
    for (uint16_t i = 0; i < 5; ++i) Offer(i);
    ASSERT_EQ(Take(4), 4u);
    queue_->Complete(*slots_[1], 16);
    queue_->Complete(*slots_[3], 16);

    // It crashes with two of four answered; one more was never taken. The base that the front-end
    // sends is the guest's available index.
    auto next = std::make_unique<VirtQueue>(0);
    ASSERT_TRUE(
        next->Start(ring_->config(), ring_->AvailableIndex(), guest_.Memory(), region()).ok());
    next->Resume();
    EXPECT_TRUE(next->HasWork());
    EXPECT_FALSE(next->ArmKicks());
    std::array<DescriptorChain, 4> chains;
    std::vector<DescriptorChain*> slots;
    for (DescriptorChain& chain : chains) slots.push_back(&chain);
    ASSERT_EQ(next->Take(std::span(slots).first(1)), 1u);
    EXPECT_EQ(chains[0].head(), 0);
    ASSERT_EQ(next->Take(std::span(slots).subspan(1)), 2u);
    EXPECT_EQ(chains[1].head(), 4);
    EXPECT_EQ(chains[2].head(), 8) << "and then the new one";
    EXPECT_EQ(chains[2].in_bytes(), 40u);
    for (int i = 0; i < 3; ++i) next->Complete(chains[static_cast<size_t>(i)], 16);
    EXPECT_EQ(ring_->UsedIndex(), ring_->AvailableIndex());
    next->Stop();

    // Nothing is left for a third.
    ASSERT_TRUE(next->Start(ring_->config(), 0, guest_.Memory(), region()).ok());
    next->Resume();
    EXPECT_EQ(next->Take(slots), 0u);
    EXPECT_FALSE(next->broken());
    next.reset();

    queue_->Stop();
    queue_->Complete(*slots_[0], 16);
    queue_->Complete(*slots_[2], 16);
  }
}

TEST_F(VirtQueueTest, ARegionForOtherRingsIsRefused) {
  InflightLayout layout{.size = 0, .offset = 0, .num_queues = 1, .queue_size = 8};
  const UniqueFd file = *InflightRegion::Create(layout);
  Make(16);
  queue_->Stop();
  EXPECT_FALSE(Start(0, *InflightRegion::Map(layout, file, BorrowedFd())).ok());
  EXPECT_FALSE(queue_->started());
}

}  // namespace
}  // namespace gofer::vhost
