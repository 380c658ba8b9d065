// A queue's life: taking requests, giving them back, start, halt and stop.

#include "vhost/virtqueue/virt_queue.h"

#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue_fixture.h"

namespace gofer::vhost {
namespace {

// ---- Taking and giving back

TEST_F(VirtQueueTest, TakesInOrderAndGivesBackInAny) {
  Make(16);
  EXPECT_EQ(Take(), 0u);
  for (uint16_t i = 0; i < 3; ++i) Offer(i);
  ASSERT_EQ(Take(), 3u);
  for (uint16_t i = 0; i < 3; ++i) {
    EXPECT_EQ(slots_[i]->head(), i * 2);
    EXPECT_EQ(slots_[i]->in_bytes(), 40u);
    EXPECT_EQ(slots_[i]->out_bytes(), 16u);
  }
  EXPECT_EQ(queue_->outstanding(), 3u);
  EXPECT_EQ(Take(), 0u);
  queue_->Complete(*slots_[1], 16);
  queue_->Complete(*slots_[2], 0);
  EXPECT_EQ(ring_->UsedIndex(), 2);
  EXPECT_EQ(ring_->Used(0).head, 2u);
  EXPECT_EQ(ring_->Used(0).written_bytes, 16u);
  EXPECT_EQ(ring_->Used(1).head, 4u);
  EXPECT_EQ(ring_->Used(1).written_bytes, 0u);
  queue_->Complete(*slots_[0], 7);
  EXPECT_EQ(ring_->UsedIndex(), 3);
  EXPECT_EQ(ring_->Used(2).head, 0u);
  EXPECT_EQ(queue_->outstanding(), 0u);
  EXPECT_EQ(queue_->counters().chains, 3u);
  EXPECT_EQ(queue_->counters().malformed, 0u);
}

TEST_F(VirtQueueTest, TakesNoMoreThanThereAreSlots) {
  Make(16);
  for (uint16_t i = 0; i < 5; ++i) Offer(i);
  EXPECT_EQ(Take(2), 2u);
  EXPECT_TRUE(queue_->HasWork());
  EXPECT_EQ(queue_->Take({}), 0u);
  EXPECT_EQ(queue_->Take(std::span(slots_).subspan(2)), 3u);
  EXPECT_FALSE(queue_->HasWork());
  Answer(5);
}

TEST_F(VirtQueueTest, IndicesWrap) {
  for (const uint32_t size : {1u, 2u, 16u}) {
    Make(size, /*event_idx=*/false, /*index=*/65530);
    for (uint16_t i = 0; i < 20; ++i) {
      const auto index = static_cast<uint16_t>(65530 + i);
      const uint16_t head = static_cast<uint16_t>(i % size);
      ring_->Set(head, {kBuffers, 40, 0, 0});
      ring_->Offer(head);
      ASSERT_EQ(Take(), 1u);
      EXPECT_EQ(slots_[0]->head(), head);
      Answer(1, 0);
      EXPECT_EQ(ring_->UsedIndex(), static_cast<uint16_t>(index + 1));
      EXPECT_EQ(ring_->Used(index).head, head);
    }
  }
}

TEST_F(VirtQueueTest, AWholeRingAtOnceAcrossTheWrap) {
  Make(64, false, 65500);
  for (int round = 0; round < 3; ++round) {
    for (uint16_t i = 0; i < 64; ++i) {
      ring_->Set(i, {kBuffers + i, 1, 0, 0});
      ring_->Offer(i);
    }
    ASSERT_EQ(Take(), 64u);
    EXPECT_EQ(Take(), 0u);
    Answer(64, 0);
    EXPECT_EQ(ring_->UsedIndex(), ring_->AvailableIndex());
  }
}

TEST_F(VirtQueueTest, AMalformedChainIsHandedOutWithItsFault) {
  Make(16);
  ring_->Set(0, {0, 8, 0, 0});
  ring_->Offer(0);
  Offer(1);
  ASSERT_EQ(Take(), 2u);
  EXPECT_EQ(slots_[0]->fault(), DescriptorChain::Fault::kNotMapped);
  EXPECT_EQ(slots_[1]->fault(), DescriptorChain::Fault::kNone);
  EXPECT_EQ(queue_->counters().malformed, 1u);
  Answer(2, 0);
  EXPECT_EQ(ring_->UsedIndex(), 2);
  EXPECT_FALSE(queue_->broken());
}

// ---- Rows 1 and 2: indices that make no sense

TEST_F(VirtQueueTest, AnAvailableIndexThatJumpsBreaksTheQueue) {
  for (const uint16_t jump : Indices{17, 100, 32768, 65535}) {
    Make(16);
    ring_->AvailableIndex() = jump;
    EXPECT_EQ(Take(), 0u) << jump;
    EXPECT_TRUE(queue_->broken());
    EXPECT_EQ(Raised(error_), 1u);
    ring_->AvailableIndex() = 1;
    EXPECT_EQ(Take(), 0u) << "for good";
    EXPECT_FALSE(queue_->HasWork());
    EXPECT_TRUE(queue_->ArmKicks()) << "nobody goes round in circles";
    queue_->Resume();
    EXPECT_EQ(Take(), 0u);
    EXPECT_TRUE(queue_->WaitIdle(absl::ZeroDuration()));
  }
}

TEST_F(VirtQueueTest, AnAvailableIndexThatGoesBackBreaksTheQueue) {
  Make(16);
  for (uint16_t i = 0; i < 3; ++i) Offer(i);
  ASSERT_EQ(Take(), 3u);
  ring_->AvailableIndex() = 2;
  EXPECT_EQ(Take(), 0u);
  EXPECT_TRUE(queue_->broken());
  Answer(3);
  EXPECT_EQ(ring_->UsedIndex(), 3) << "what was taken is still given back";
}

TEST_F(VirtQueueTest, AHeadOutOfTheTableBreaksTheQueue) {
  for (const uint16_t head : Indices{16, 32768, 65535}) {
    Make(16);
    Offer(0);
    ring_->Offer(head);
    Offer(1);
    ASSERT_EQ(Take(), 1u) << "what was before it";
    EXPECT_TRUE(queue_->broken());
    Answer(1);
    EXPECT_EQ(ring_->UsedIndex(), 1) << "nothing for the head that is none";
  }
}

TEST_F(VirtQueueTest, MoreOutstandingThanTheRingHoldsBreaksTheQueue) {
  Make(4);
  for (uint16_t i = 0; i < 4; ++i) ring_->Offer(0);
  ring_->Set(0, {kBuffers, 8, 0, 0});
  ASSERT_EQ(Take(), 4u);
  ring_->Offer(0);
  EXPECT_EQ(queue_->Take(std::span(slots_).subspan(4)), 0u) << "none of the four was answered";
  EXPECT_TRUE(queue_->broken());
  Answer(4, 0);
}

TEST_F(VirtQueueTest, ABrokenQueueCanBeStartedAfresh) {
  Make(16);
  ring_->AvailableIndex() = 999;
  EXPECT_EQ(Take(), 0u);
  queue_->Stop();
  ring_->StartAt(0);
  ASSERT_TRUE(Start(0).ok());
  queue_->Resume();
  EXPECT_FALSE(queue_->broken());
  Offer(0);
  EXPECT_EQ(Take(), 1u);
  Answer(1);
}

// ---- Start, halt, stop

TEST_F(VirtQueueTest, NothingIsTakenBeforeResumeAndAfterHalt) {
  Make(16);
  queue_->Stop();
  ASSERT_TRUE(Start(0).ok());
  Offer(0);
  EXPECT_EQ(Take(), 0u);
  EXPECT_FALSE(queue_->HasWork());
  queue_->Resume();
  EXPECT_EQ(Take(1), 1u);
  Offer(1);
  queue_->Halt();
  EXPECT_EQ(Take(), 0u);
  EXPECT_FALSE(queue_->WaitIdle(absl::Milliseconds(1))) << "one is outstanding";
  Answer(1);
  EXPECT_TRUE(queue_->WaitIdle(kLong));
  const QueueState state = queue_->Stop();
  EXPECT_EQ(state.next_available, 1);
  EXPECT_EQ(state.used, 1);
  EXPECT_EQ(queue_->Stop().next_available, 1) << "again";
  ASSERT_TRUE(Start(1).ok());
  queue_->Resume();
  ASSERT_EQ(Take(), 1u);
  EXPECT_EQ(slots_[0]->head(), 2);
  Answer(1);
}

TEST_F(VirtQueueTest, WaitIdleTellsTheGuestOfTheLastAnswer) {
  Make(16);
  Offer(0);
  ASSERT_EQ(Take(), 1u);
  queue_->Halt();
  std::thread worker([&] {
    absl::SleepFor(absl::Milliseconds(20));
    Answer(1);  // and it has not come to Notify
  });
  EXPECT_TRUE(queue_->WaitIdle(kLong));
  EXPECT_EQ(Raised(call_), 1u);
  EXPECT_EQ(ring_->UsedIndex(), 1);
  worker.join();
}

// A worker's last touch of the queue is before the end of the wait: what waited may destroy it.
TEST_F(VirtQueueTest, AQueueCanEndRightAfterItsLastAnswer) {
  for (int round = 0; round < 300; ++round) {
    Make(16);
    Offer(0);
    ASSERT_EQ(Take(), 1u);
    queue_->Halt();
    std::thread worker([&] { queue_->CompleteAndNotify(*slots_[0], 16); });
    EXPECT_TRUE(queue_->WaitIdle(kLong));
    queue_.reset();
    EXPECT_EQ(Raised(call_), 1u);
    worker.join();
  }
}

TEST_F(VirtQueueTest, AfterStopNothingIsWritten) {
  Make(16);
  Offer(0);
  Offer(1);
  ASSERT_EQ(Take(), 2u);
  Answer(1);
  const QueueState state = queue_->Stop();  // one is left behind
  EXPECT_EQ(state.next_available, 2);
  EXPECT_EQ(state.used, 1);
  Raised(call_);
  std::memset(guest_.At(ring_->used_address()), 0x55, UsedSize(16));
  // Its buffers are still there for whoever works on it.
  std::memset(slots_[1]->out()[0].iov_base, 'x', 16);
  // Also not into the ring of another start.
  ring_->UsedIndex() = 2;
  ASSERT_TRUE(Start(2).ok());
  queue_->Resume();
  EXPECT_EQ(queue_->outstanding(), 1u);
  queue_->Complete(*slots_[1], 16);
  queue_->Notify();
  EXPECT_EQ(ring_->UsedIndex(), 2);
  EXPECT_EQ(ring_->Used(1).head, 0x55555555u);
  EXPECT_EQ(Raised(call_), 0u);
  EXPECT_EQ(queue_->outstanding(), 0u);
}

TEST_F(VirtQueueTest, AfterStopNothingOfAFormerMemoryIsWrittenEither) {
  Make(16);
  Offer(0);
  Offer(1);
  ASSERT_EQ(Take(), 2u);
  // Their buffers are in a region that goes: whoever changes the table would have to wait.
  ASSERT_FALSE(
      queue_->SetMemory(guest_.Memory({TestGuest::kLow, TestGuest::kNext}), absl::ZeroDuration()));
  queue_->Stop();
  queue_->Complete(*slots_[0], 16);  // there is no ring now
  ring_->UsedIndex() = 2;
  ASSERT_TRUE(Start(2).ok());
  queue_->Complete(*slots_[1], 16);  // and it is not this one
  EXPECT_EQ(ring_->UsedIndex(), 2);
  EXPECT_EQ(queue_->outstanding(), 0u);
}

TEST_F(VirtQueueTest, UsedIndexIsReadFromTheRing) {
  queue_ = std::make_unique<VirtQueue>(0);
  ring_ = std::make_unique<TestRing>(guest_, 16);
  ring_->AvailableIndex() = 100;
  ring_->UsedIndex() = 95;
  ASSERT_TRUE(Start(98).ok());
  queue_->Resume();
  ring_->Set(0, {kBuffers, 8, 0, 0});
  ASSERT_EQ(Take(), 2u);
  Answer(2, 0);
  EXPECT_EQ(ring_->UsedIndex(), 97);
}

TEST_F(VirtQueueTest, ImpossibleRingsAreRefused) {
  queue_ = std::make_unique<VirtQueue>(0);
  ring_ = std::make_unique<TestRing>(guest_, 16);
  const auto memory = guest_.Memory();
  auto refused = [&](auto change) {
    RingConfig config = ring_->config();
    change(config);
    return !queue_->Start(config, 0, memory, nullptr).ok() && !queue_->started();
  };
  for (const uint32_t size : {0u, 3u, 15u, 17u, 32769u, 65536u, 0x80000000u, 0xffffffffu}) {
    EXPECT_TRUE(refused([&](RingConfig& c) { c.size = size; })) << size;
  }
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.descriptors += 8; }));
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.available += 1; }));
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.used += 2; }));
  const uint64_t border = TestGuest::User(TestGuest::kNext);
  EXPECT_TRUE(refused([&](RingConfig& c) { c.addresses.descriptors = border - 16 * 15; }));
  EXPECT_TRUE(refused([&](RingConfig& c) { c.addresses.available = border - 36; }));
  EXPECT_TRUE(refused([&](RingConfig& c) { c.addresses.used = border - 132; }));
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.used = 0; }));
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.used = UINT64_MAX - 3; }));
  EXPECT_TRUE(refused([](RingConfig& c) { c.addresses.used = TestGuest::kLow + 0x400; }))
      << "an address of the guest";
  // The largest ring, up to the very end of a region.
  EXPECT_FALSE(refused([&](RingConfig& c) { c.addresses.used = border - UsedSize(16) - 2; }));
  EXPECT_FALSE(queue_->Start(ring_->config(), 0, memory, nullptr).ok()) << "it is started";
}

TEST_F(VirtQueueTest, WithoutARingNothingHappens) {
  queue_ = std::make_unique<VirtQueue>(3);
  queue_->Resume();
  EXPECT_EQ(Take(), 0u);
  EXPECT_FALSE(queue_->HasWork());
  EXPECT_TRUE(queue_->ArmKicks());
  queue_->DisarmKicks();
  queue_->Notify();
  queue_->Halt();
  EXPECT_TRUE(queue_->WaitIdle(kLong));
  EXPECT_TRUE(queue_->SetMemory(guest_.Memory(), kLong));
  queue_->SetDirtyLog(nullptr, std::nullopt);
  EXPECT_EQ(queue_->Stop().next_available, 0);
}

}  // namespace
}  // namespace gofer::vhost
