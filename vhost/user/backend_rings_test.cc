// The messages that set up memory and rings, and the life of a ring.

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/user/backend_fixture.h"
#include "vhost/user/message.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::user {
namespace {

using testing::ErrorOf;

// ---- The life of a ring

// Trap 12.
TEST_F(BackendTest, RingsThatTheGuestDoesNotUse) {
  Frontend& frontend = Negotiate();
  const UniqueFd event = NewEvent();
  for (uint32_t index = 0; index < 5; ++index) {
    Must(frontend.SetVringFd(MessageId::kSetVringCall, index, event, Ack::kWanted));
    Must(frontend.SetVringFd(MessageId::kSetVringErr, index, event, Ack::kWanted));
    Must(frontend.Tell(MessageId::kSetVringEnable, VringState{index, 1}, Ack::kWanted));
    Must(frontend.Tell(MessageId::kSetVringEnable, VringState{index, 0}, Ack::kWanted));
    EXPECT_EQ(StopRing(index), 0u);
  }
  Must(frontend.Tell(MessageId::kSetVringBase, VringState{3, 77}, Ack::kWanted));
  EXPECT_EQ(StopRing(3), 77u);
}

TEST_F(BackendTest, StartsWithTheKickAndStopsForItsIndex) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  Describe(ram, 1);
  EXPECT_EQ(device_.attached[1], nullptr);
  const UniqueFd kick = NewEvent();
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, kick, Ack::kWanted));
  EXPECT_NE(device_.attached[1], nullptr);
  // Trap 1: on the way to both, whatever comes last, the ring is looked at.
  EXPECT_EQ(device_.wakes, 0);
  Must(frontend.Tell(MessageId::kSetVringEnable, VringState{1, 1}, Ack::kWanted));
  EXPECT_EQ(device_.wakes, 1);
  EXPECT_EQ(StopRing(1), 0u);
  EXPECT_EQ(device_.attached[1], nullptr);
  // Enabling alone does not start it again: that takes a kick.
  Must(frontend.Tell(MessageId::kSetVringEnable, VringState{1, 1}, Ack::kWanted));
  EXPECT_EQ(device_.attached[1], nullptr);
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, kick, Ack::kWanted));
  EXPECT_NE(device_.attached[1], nullptr);
  EXPECT_EQ(device_.wakes, 2);
}

TEST_F(BackendTest, WithoutProtocolFeaturesRingsAreEnabledFromTheStart) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.Tell(MessageId::kSetFeatures, kFeatureVersion1, Ack::kWanted));
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  Describe(ram, 1);
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted));
  EXPECT_EQ(device_.wakes, 1);
}

TEST_F(BackendTest, VirtioOneOnly) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.Tell(MessageId::kSetFeatures, kFeatureProtocolFeatures, Ack::kWanted));
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  Describe(ram, 1);
  EXPECT_EQ(ErrorOf(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted)),
            EREMOTEIO);
}

TEST_F(BackendTest, ARingOutsideOfMemoryDoesNotStart) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Describe(ram, 1);
  EXPECT_EQ(ErrorOf(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted)),
            EREMOTEIO);
  EXPECT_EQ(device_.attached[1], nullptr);
  EXPECT_EQ(StopRing(1), 0u);
}

// Trap 11, and what may not change while a ring is served.
TEST_F(BackendTest, ARunningRingStaysWhereItIs) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  VringAddr addr = StartRing(ram, 1);
  addr.flags = kVringAddrLog;
  Must(frontend.Tell(MessageId::kSetVringAddr, addr, Ack::kWanted));
  for (uint64_t VringAddr::*field : {&VringAddr::desc, &VringAddr::used, &VringAddr::avail}) {
    VringAddr other = addr;
    other.*field += 64;
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringAddr, other, Ack::kWanted)), EREMOTEIO);
  }
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringNum, VringState{1, 64}, Ack::kWanted)),
            EREMOTEIO);
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringBase, VringState{1, 5}, Ack::kWanted)),
            EREMOTEIO);
  EXPECT_EQ(
      ErrorOf(frontend.Tell(MessageId::kSetFeatures, kAccepted & ~kFeatureEventIdx, Ack::kWanted)),
      EREMOTEIO);
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted, Ack::kWanted));
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted | kFeatureLogAll, Ack::kWanted));
  EXPECT_NE(device_.attached[1], nullptr);
  EXPECT_EQ(StopRing(1), 0u);
}

// Trap 22.
TEST_F(BackendTest, ANewCallDescriptorOfARunningRingIsRaisedAtOnce) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  const UniqueFd before = NewEvent();
  Must(frontend.SetVringFd(MessageId::kSetVringCall, 1, before, Ack::kWanted));
  StartRing(ram, 1);
  EXPECT_FALSE(Raised(before));
  const UniqueFd call = NewEvent();
  Must(frontend.SetVringFd(MessageId::kSetVringCall, 1, call, Ack::kWanted));
  EXPECT_TRUE(Raised(call));
}

TEST_F(BackendTest, ANewKickDescriptorOfARunningRing) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  StartRing(ram, 1);
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted));
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, BorrowedFd(), Ack::kWanted));
  EXPECT_NE(device_.attached[1], nullptr);
  EXPECT_EQ(device_.wakes, 3);
}

// The ring is left in peace then, and can be started anew.
TEST_F(BackendTest, AKickDescriptorThatTheDeviceCannotUse) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  StartRing(ram, 1);
  device_.refuses = true;
  EXPECT_EQ(ErrorOf(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted)),
            EREMOTEIO);
  EXPECT_EQ(device_.attached[1], nullptr);
  EXPECT_EQ(ErrorOf(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted)),
            EREMOTEIO);
  device_.refuses = false;
  Must(frontend.SetVringFd(MessageId::kSetVringKick, 1, NewEvent(), Ack::kWanted));
  EXPECT_NE(device_.attached[1], nullptr);
  EXPECT_EQ(StopRing(1), 0u);
}

// Trap 6: QEMU 10 sends it early and often, and repeats neither protocol features nor memory.
TEST_F(BackendTest, ResetKeepsWhatIsNotSaidAgain) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.Tell(MessageId::kResetDevice, {}, {}, Ack::kWanted));
  EXPECT_EQ(device_.resets, 1);
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  for (int round = 0; round < 3; ++round) {
    Must(frontend.Tell(MessageId::kSetFeatures, kAccepted, Ack::kWanted));
    StartRing(ram, 0);
    StartRing(ram, 1);
    Must(frontend.Tell(MessageId::kResetDevice, {}, {}, Ack::kWanted));
    EXPECT_EQ(device_.attached[0], nullptr);
    EXPECT_EQ(device_.attached[1], nullptr);
    EXPECT_EQ(device_.resets, 2 + round);
  }
  EXPECT_EQ(StopRing(1), 0u);
}

TEST_F(BackendTest, ResetOwnerStopsAllRings) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  StartRing(ram, 1);
  Must(frontend.Tell(MessageId::kResetOwner, {}, {}, Ack::kWanted));
  EXPECT_EQ(device_.attached[1], nullptr);
  EXPECT_EQ(device_.resets, 0);
}

// ---- Memory

TEST_F(BackendTest, MemoryTables) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  struct {
    uint32_t count = 1;
    uint32_t padding = 0;
    RegionLayout region;
  } table;
  table.region = ram.regions()[0];
  const auto tell = [&](size_t fds) {
    const std::vector<BorrowedFd> files(fds, ram.file());
    return ErrorOf(frontend.Tell(MessageId::kSetMemTable, std::as_bytes(std::span(&table, 1)),
                                 files, Ack::kWanted));
  };
  EXPECT_EQ(tell(1), 0);
  EXPECT_EQ(tell(0), EREMOTEIO);
  EXPECT_EQ(tell(2), EREMOTEIO);
  table.region.size += 4096;  // beyond the end of the file
  EXPECT_EQ(tell(1), EREMOTEIO);
  table.region.size = 0;
  EXPECT_EQ(tell(1), EREMOTEIO);
  table.region = ram.regions()[0];
  table.region.guest_address = ~uint64_t{0} - 100;
  EXPECT_EQ(tell(1), EREMOTEIO);
  // What was refused has changed nothing.
  StartRing(ram, 1);
  // No memory, while a ring is in it.
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetMemTable, uint64_t{0}, Ack::kWanted)), EREMOTEIO);
  StopRing(1);
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetMemTable, uint64_t{0}, Ack::kWanted)), 0);
}

TEST_F(BackendTest, SingleRegions) {
  GuestRam ram(1 << 20);
  const RegionLayout region = ram.regions()[0];
  Frontend& frontend = Negotiate();
  Must(frontend.AddRegion(region, ram.file(), Ack::kWanted));
  EXPECT_EQ(ErrorOf(frontend.AddRegion(region, ram.file(), Ack::kWanted)), EREMOTEIO);  // overlaps
  RegionLayout other = region;
  other.size -= 4096;
  EXPECT_EQ(ErrorOf(frontend.RemoveRegion(other, Ack::kWanted)), EREMOTEIO);
  StartRing(ram, 1);
  // The ring loses the ground under it and waits until the memory is there again.
  Must(frontend.RemoveRegion(region, Ack::kWanted));
  VirtQueue& queue = *device_.attached[1];
  EXPECT_TRUE(queue.started());
  EXPECT_FALSE(queue.broken());
  DescriptorChain chain;
  DescriptorChain* const slots[] = {&chain};
  EXPECT_EQ(queue.Take(slots), 0u);
  Must(frontend.AddRegion(region, ram.file(), Ack::kWanted));
  EXPECT_FALSE(queue.broken());
  StopRing(1);
  // cloud-hypervisor sends the descriptor along.
  struct {
    uint64_t padding = 0;
    RegionLayout region;
  } payload;
  payload.region = region;
  const BorrowedFd file = ram.file();
  Must(frontend.Tell(MessageId::kRemMemReg, std::as_bytes(std::span(&payload, 1)),
                     std::span(&file, 1), Ack::kWanted));
}

TEST_F(BackendTest, MemoryThatIsCutEndsTheConnection) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate();
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  StartRing(ram, 1);
  VirtQueue& queue = *device_.attached[1];
  ASSERT_EQ(ftruncate(ram.file().get(), 0), 0);
  DescriptorChain chain;
  DescriptorChain* const slots[] = {&chain};
  (void)queue.Take(slots);
  EXPECT_TRUE(absl::IsDataLoss(Ended()));
}

}  // namespace
}  // namespace gofer::vhost::user
