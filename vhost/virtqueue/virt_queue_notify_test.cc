// Interrupts and kicks: who is told what, and when not.

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "gtest/gtest.h"
#include "vhost/virtqueue/test_ring.h"
#include "vhost/virtqueue/virt_queue_fixture.h"

namespace gofer::vhost {
namespace {

// ---- Interrupts

TEST_F(VirtQueueTest, InterruptsUnlessTheGuestSaysNo) {
  Make(16);
  EXPECT_TRUE(Interrupts());
  EXPECT_TRUE(Interrupts());
  ring_->AvailableFlags() = kAvailableNoInterrupt;
  EXPECT_FALSE(Interrupts());
  ring_->AvailableFlags() = 0xfffe;
  EXPECT_TRUE(Interrupts()) << "other bits mean nothing";
  ring_->UsedEvent() = 40000;
  EXPECT_TRUE(Interrupts()) << "not negotiated";
  Raised(call_);
  queue_->Notify();
  EXPECT_EQ(Raised(call_), 0u) << "nothing new";
}

TEST_F(VirtQueueTest, OneInterruptForABatch) {
  Make(16);
  for (uint16_t i = 0; i < 8; ++i) Offer(i);
  ASSERT_EQ(Take(), 8u);
  Answer(8);
  queue_->Notify();
  EXPECT_EQ(Raised(call_), 1u);
  EXPECT_EQ(queue_->counters().calls, 1u);
}

// For each place of the event around a batch of three answers that starts at each place around the
// wrap: exactly when it lies among them.
TEST_F(VirtQueueTest, UsedEventIsMetWithinABatch) {
  for (const uint16_t start : Indices{0, 5, 32767, 65531, 65533, 65535}) {
    for (int distance = -5; distance <= 6; ++distance) {
      Make(16, /*event_idx=*/true, start);
      ASSERT_TRUE(Interrupts()) << "the first is always told";
      const auto before = static_cast<uint16_t>(start + 1);
      ring_->UsedEvent() = static_cast<uint16_t>(before + distance);
      ring_->AvailableFlags() = kAvailableNoInterrupt;  // means nothing here
      for (uint16_t i = 0; i < 3; ++i) Offer(i);
      ASSERT_EQ(Take(), 3u);
      Answer(3);
      queue_->Notify();
      EXPECT_EQ(Raised(call_), distance >= 0 && distance < 3 ? 1u : 0u) << start << " " << distance;
    }
  }
}

TEST_F(VirtQueueTest, AnEventFarBehindIsNotMet) {
  Make(16, true);
  ASSERT_TRUE(Interrupts());
  ring_->UsedEvent() = 0;  // that answer is told already
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(Interrupts()) << i;
}

TEST_F(VirtQueueTest, ANewCallDescriptorIsRaisedAtOnce) {
  Make(16);
  const UniqueFd other = MakeEvent();
  queue_->SetCall(UniqueFd(dup(other.get())));
  EXPECT_EQ(Raised(other), 1u);
  Raised(call_);
  EXPECT_FALSE(Interrupts()) << "the old one is not used any more";
  EXPECT_EQ(Raised(other), 1u);
  queue_->SetCall(UniqueFd());
  EXPECT_FALSE(Interrupts()) << "a guest that polls";
  queue_->Stop();
  queue_->SetCall(UniqueFd(dup(other.get())));
  EXPECT_EQ(Raised(other), 0u) << "a stopped queue interrupts nobody";
}

TEST_F(VirtQueueTest, ACallDescriptorThatIsFullKeepsNobody) {
  for (const int flags : {0, int{EFD_NONBLOCK}}) {
    Make(16);
    const UniqueFd full(eventfd(0, EFD_CLOEXEC | flags));
    const uint64_t most = UINT64_MAX - 1;
    ASSERT_EQ(write(full.get(), &most, sizeof(most)), ssize_t{sizeof(most)});
    queue_->SetCall(UniqueFd(dup(full.get())));
    EXPECT_FALSE(Interrupts());
  }
}

// ---- Kicks

TEST_F(VirtQueueTest, KicksAreAskedForAndNot) {
  Make(16);
  EXPECT_TRUE(queue_->ArmKicks());
  EXPECT_EQ(ring_->UsedFlags(), 0);
  queue_->DisarmKicks();
  EXPECT_EQ(ring_->UsedFlags(), kUsedNoNotify);
  Offer(0);
  EXPECT_FALSE(queue_->ArmKicks()) << "there is something";
  EXPECT_EQ(ring_->UsedFlags(), kUsedNoNotify);
  EXPECT_EQ(Take(), 1u);
  Answer(1);
  EXPECT_TRUE(queue_->ArmKicks());
  EXPECT_EQ(ring_->UsedFlags(), 0);
}

TEST_F(VirtQueueTest, AvailableEventIsTheNextRequest) {
  for (const uint16_t start : Indices{0, 65533, 65535}) {
    Make(16, true, start);
    for (uint16_t i = 0; i < 5; ++i) {
      EXPECT_TRUE(queue_->ArmKicks());
      const auto next = static_cast<uint16_t>(start + i);
      EXPECT_EQ(ring_->AvailableEvent(), next);
      EXPECT_EQ(ring_->UsedFlags(), 0);
      // The guest's own rule says that this one is to be kicked for.
      const uint16_t before = ring_->AvailableIndex();
      Offer(0);
      const uint16_t after = ring_->AvailableIndex();
      EXPECT_LT(static_cast<uint16_t>(after - ring_->AvailableEvent() - 1),
                static_cast<uint16_t>(after - before));
      queue_->DisarmKicks();
      EXPECT_EQ(ring_->UsedFlags(), 0) << "the flags are not used";
      EXPECT_EQ(Take(), 1u);
      Answer(1);
      // And one more that it is not.
      const uint16_t later = static_cast<uint16_t>(after + 1);
      EXPECT_GE(static_cast<uint16_t>(later - ring_->AvailableEvent() - 1),
                static_cast<uint16_t>(later - after));
    }
  }
}

}  // namespace
}  // namespace gofer::vhost
