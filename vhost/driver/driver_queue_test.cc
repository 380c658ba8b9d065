// The guest's side of a ring, with the test as the device: what a device may not do is seen.

#include "vhost/driver/driver_queue.h"

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::driver {
namespace {

constexpr uint16_t kSize = 8;

// Writes what a device writes, and reads what it reads, without any opinion.
class Device {
 public:
  explicit Device(DriverQueue& queue) : queue_(queue) {}

  uint16_t AvailableIndex() const { return Load(queue_.available(), kIndexOffset); }
  uint16_t Head(uint16_t index) const {
    return Load(queue_.available(), kEntriesOffset + 2 * (index % queue_.size()));
  }
  Descriptor At(uint16_t index) const {
    Descriptor descriptor;
    std::memcpy(&descriptor, queue_.descriptors().host + index * sizeof(descriptor),
                sizeof(descriptor));
    return descriptor;
  }
  void Use(uint32_t head, uint32_t written) {
    const UsedElement element = {.head = head, .written_bytes = written};
    std::memcpy(queue_.used().host + kEntriesOffset + (used_ % queue_.size()) * sizeof(element),
                &element, sizeof(element));
    Publish(++used_);
  }
  void Publish(uint16_t index) {
    used_ = index;
    std::memcpy(queue_.used().host + kIndexOffset, &index, sizeof(index));
  }
  // Asks to be kicked when this index is passed.
  void WantKickAt(uint16_t index) {
    std::memcpy(queue_.used().host + AvailableEventOffset(queue_.size()), &index, sizeof(index));
  }
  uint16_t UsedEvent() const { return Load(queue_.available(), UsedEventOffset(queue_.size())); }
  void Call() {
    const uint64_t one = 1;
    ASSERT_EQ(write(queue_.call_fd().get(), &one, sizeof(one)), 8);
  }

 private:
  static uint16_t Load(const RamBlock& area, size_t offset) {
    uint16_t value;
    std::memcpy(&value, area.host + offset, sizeof(value));
    return value;
  }

  DriverQueue& queue_;
  uint16_t used_ = 0;
};

class DriverQueueTest : public ::testing::Test {
 protected:
  DriverQueueTest() : ram_(1 << 20) {
    int ends[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    ours_ = UniqueFd(ends[0]);
    theirs_ = UniqueFd(ends[1]);
  }
  std::unique_ptr<DriverQueue> Queue(DriverQueueOptions options) {
    options.size = kSize;
    return std::make_unique<DriverQueue>(&ram_, ours_, options);
  }
  static bool Kicked(const DriverQueue& queue) {
    uint64_t count;
    return read(queue.kick_fd().get(), &count, sizeof(count)) == sizeof(count);
  }

  GuestRam ram_;
  UniqueFd ours_, theirs_;
  const std::vector<Piece> in_ = {{0x1000, 40}, {0x2000, 16}};
  const std::vector<Piece> out_ = {{0x3000, 16}, {0x4000, 104}};
};

TEST_F(DriverQueueTest, AChainIsLinkedReadableFirst) {
  const auto queue = Queue({.indirect = false});
  Device device(*queue);
  ASSERT_TRUE(queue->Add(in_, out_, 7));
  EXPECT_EQ(device.AvailableIndex(), 0) << "shown before Publish";
  queue->Publish();
  ASSERT_EQ(device.AvailableIndex(), 1);
  const Descriptor first = device.At(device.Head(0));
  EXPECT_EQ(first.address, 0x1000u);
  EXPECT_EQ(first.flags, kDescriptorNext);
  const Descriptor third = device.At(device.At(first.next).next);
  EXPECT_EQ(third.address, 0x3000u);
  EXPECT_EQ(third.flags, kDescriptorWrite | kDescriptorNext);
  EXPECT_EQ(device.At(third.next).flags, kDescriptorWrite);

  device.Use(device.Head(0), 120);
  const auto finished = queue->Take();
  ASSERT_TRUE(finished.ok() && finished->has_value());
  EXPECT_EQ((*finished)->token, 7u);
  EXPECT_EQ((*finished)->written, 120u);
  EXPECT_EQ(queue->in_flight(), 0u);
}

TEST_F(DriverQueueTest, AnIndirectTableTakesOneDescriptor) {
  const auto queue = Queue({});
  Device device(*queue);
  for (uint64_t i = 0; i < kSize; ++i) ASSERT_TRUE(queue->Add(in_, out_, i)) << i;
  EXPECT_FALSE(queue->Add(in_, out_, 99)) << "the ring is full";
  queue->Publish();
  const Descriptor first = device.At(device.Head(0));
  EXPECT_EQ(first.flags, kDescriptorIndirect);
  EXPECT_EQ(first.size_bytes, 4 * sizeof(Descriptor));
}

// Descriptors come back in any order and are all there again afterwards.
TEST_F(DriverQueueTest, NoDescriptorIsLost) {
  for (const bool indirect : {true, false}) {
    const auto queue = Queue({.indirect = indirect});
    Device device(*queue);
    const uint16_t at_once = indirect ? kSize : kSize / 4;
    for (uint16_t round = 0; round < 1000; ++round) {
      for (uint16_t i = 0; i < at_once; ++i) ASSERT_TRUE(queue->Add(in_, out_, i));
      EXPECT_FALSE(queue->Add(in_, out_, 99));
      queue->Publish();
      for (uint16_t i = 0; i < at_once; ++i) {
        const auto nth = static_cast<uint16_t>((i + round) % at_once);
        device.Use(device.Head(static_cast<uint16_t>(round * at_once + nth)), 16);
      }
      for (uint16_t i = 0; i < at_once; ++i) {
        const auto finished = queue->Take();
        ASSERT_TRUE(finished.ok() && finished->has_value());
        EXPECT_EQ((*finished)->token, (i + round) % at_once);
      }
    }
  }
}

TEST_F(DriverQueueTest, KicksOnlyWhereTheDeviceAsksForIt) {
  const auto queue = Queue({});
  Device device(*queue);
  device.WantKickAt(2);  // when the third is added
  for (const bool wanted : {false, false, true, false}) {
    ASSERT_TRUE(queue->Add(in_, out_, 0));
    queue->Publish();
    EXPECT_EQ(Kicked(*queue), wanted) << "request " << device.AvailableIndex();
  }
  EXPECT_EQ(queue->kicks(), 1u);
}

TEST_F(DriverQueueTest, AWaitAsksForACallAndEndsWithIt) {
  const auto queue = Queue({});
  Device device(*queue);
  ASSERT_TRUE(queue->Add(in_, out_, 0));
  queue->Publish();
  EXPECT_EQ(queue->Wait(absl::Milliseconds(20)).error(), ETIMEDOUT);
  device.Call();  // for nothing
  EXPECT_EQ(queue->Wait(absl::Milliseconds(20)).error(), ETIMEDOUT);
  device.Use(device.Head(0), 16);
  EXPECT_TRUE(queue->Wait(absl::Seconds(60)).ok());
  ASSERT_TRUE(queue->Take().ok());
  ASSERT_TRUE(queue->Add(in_, out_, 0));
  queue->Publish();
  EXPECT_EQ(queue->Wait(absl::Milliseconds(20)).error(), ETIMEDOUT);
  EXPECT_EQ(device.UsedEvent(), 1) << "a call for the second one";
}

TEST_F(DriverQueueTest, AWaitEndsWhenTheDeviceHasGone) {
  const auto queue = Queue({});
  ASSERT_TRUE(queue->Add(in_, out_, 0));
  theirs_.Reset();
  EXPECT_EQ(queue->Wait(absl::Seconds(60)).error(), ESHUTDOWN);
}

TEST_F(DriverQueueTest, ADeviceThatBreaksTheRulesIsSeen) {
  const auto queue = Queue({});
  Device device(*queue);
  const auto expect_broken = [&](const char* what) {
    const auto taken = queue->Take();
    ASSERT_FALSE(taken.ok()) << what;
    EXPECT_EQ(taken.error(), EBADMSG) << what;
    queue->Reset();
    device.Publish(0);
    ASSERT_TRUE(queue->Add(in_, out_, 0));
    queue->Publish();
  };
  ASSERT_TRUE(queue->Add(in_, out_, 0));
  queue->Publish();
  device.Use(3, 16);
  expect_broken("a head that is not in flight");
  device.Use(kSize, 16);
  expect_broken("a head beyond the table");
  device.Use(device.Head(0), 121);
  expect_broken("more bytes than there is room for");
  device.Publish(2);
  expect_broken("more requests than are in flight");
}

}  // namespace
}  // namespace gofer::vhost::driver
