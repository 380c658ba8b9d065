// The messages about the in-flight region, the dirty log, the configuration and the device's state.

#include <fcntl.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <tuple>
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
#include "vhost/virtqueue/inflight_region.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::user {
namespace {

using testing::ErrorOf;

// ---- In-flight region, dirty log, configuration

TEST_F(BackendTest, InflightRegionIsAnsweredInTheFormItWasAskedFor) {
  Frontend& frontend = Negotiate();
  const InflightArea ask = {
      .size = 0, .offset = 0, .num_queues = 2, .queue_size = 128, .padding = 0};
  for (const size_t size : {kInflightAreaUnpadded, sizeof(InflightArea)}) {
    const auto payload = Payload(ask).first(size);
    Must(frontend.Send(MessageId::kGetInflightFd, payload));
    auto reply = frontend.Receive(MessageId::kGetInflightFd);
    ASSERT_TRUE(reply.ok());
    ASSERT_EQ(reply->payload.size(), size);
    ASSERT_EQ(reply->fds.size(), 1u);
    InflightArea area = {};
    std::memcpy(&area, reply->payload.data(), size);
    EXPECT_GE(area.size, 2u * 128 * 16);
    EXPECT_EQ(area.num_queues, 2);
    EXPECT_EQ(area.queue_size, 128);
    const BorrowedFd file = reply->fds[0];
    Must(frontend.Tell(MessageId::kSetInflightFd, reply->payload, std::span(&file, 1),
                       Ack::kWanted));
    area.num_queues = 200;  // fit into the size named, not into the file
    area.size = 1 << 20;
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetInflightFd, Payload(area), std::span(&file, 1),
                                    Ack::kWanted)),
              EREMOTEIO);
  }
  const InflightArea absurd = {
      .size = 0, .offset = 0, .num_queues = 0xffff, .queue_size = 0xffff, .padding = 0};
  Must(frontend.Send(MessageId::kGetInflightFd, Payload(absurd)));
  auto reply = frontend.Receive(MessageId::kGetInflightFd);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->fds.size(), 0u);
}

TEST_F(BackendTest, InflightRegionIsForNoMoreThanTheRingsThatThereMayBe) {
  Frontend& frontend = Negotiate(nullptr, {.queues = 4, .ring_entries = 256});
  for (const auto& [queues, entries, fits] :
       {std::tuple<uint16_t, uint16_t, bool>{4, 256, true}, {5, 256, false}, {4, 512, false}}) {
    InflightArea area = {
        .size = 0, .offset = 0, .num_queues = queues, .queue_size = entries, .padding = 0};
    Must(frontend.Send(MessageId::kGetInflightFd, Payload(area)));
    auto reply = frontend.Receive(MessageId::kGetInflightFd);
    ASSERT_TRUE(reply.ok());
    EXPECT_EQ(reply->fds.size(), fits ? 1u : 0u) << queues << " of " << entries;

    // Nor is one taken that somebody else has made.
    InflightLayout layout = {.num_queues = queues, .queue_size = entries};
    const absl::StatusOr<UniqueFd> made = InflightRegion::Create(layout);
    ASSERT_TRUE(made.ok());
    area.size = layout.size;
    area.offset = layout.offset;
    const BorrowedFd file = *made;
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetInflightFd, Payload(area), std::span(&file, 1),
                                    Ack::kWanted)),
              fits ? 0 : EREMOTEIO)
        << queues << " of " << entries;
  }
}

TEST_F(BackendTest, DirtyLogIsAlwaysAnswered) {
  Frontend& frontend = Negotiate();
  const UniqueFd file(memfd_create("log", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  const BorrowedFd fd = file;
  const LogArea area = {.size = 4096, .offset = 0};
  EXPECT_EQ(
      frontend.Ask<uint64_t>(MessageId::kSetLogBase, Payload(area), std::span(&fd, 1)).value(), 0u);
  const LogArea beyond = {.size = 8192, .offset = 0};
  EXPECT_EQ(
      frontend.Ask<uint64_t>(MessageId::kSetLogBase, Payload(beyond), std::span(&fd, 1)).value(),
      1u);
}

TEST_F(BackendTest, Configuration) {
  device_.config_.assign(44, std::byte{7});
  Frontend& frontend = Connect();
  struct {
    ConfigHeader header = {.offset = 0, .size = 44, .flags = 0};
    std::byte bytes[44] = {};
  } ask;
  Must(frontend.Send(MessageId::kGetConfig, std::as_bytes(std::span(&ask, 1))));
  auto reply = frontend.Receive(MessageId::kGetConfig);
  ASSERT_TRUE(reply.ok());
  ASSERT_EQ(reply->payload.size(), 12u + 44u);
  EXPECT_EQ(reply->payload[12], std::byte{7});
  // What is not all inside, or not as long as it says, gets an answer without payload.
  ask.header.offset = 1;
  Must(frontend.Send(MessageId::kGetConfig, std::as_bytes(std::span(&ask, 1))));
  EXPECT_TRUE(frontend.Receive(MessageId::kGetConfig)->payload.empty());
  ask.header = {.offset = 0, .size = 45, .flags = 0};
  Must(frontend.Send(MessageId::kGetConfig, std::as_bytes(std::span(&ask, 1))));
  EXPECT_TRUE(frontend.Receive(MessageId::kGetConfig)->payload.empty());
  // And nobody may write it.
  ask.header.size = 44;
  Must(frontend.Tell(MessageId::kSetProtocolFeatures, kProtocolReplyAck));
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetConfig, std::as_bytes(std::span(&ask, 1)), {},
                                  Ack::kWanted)),
            EREMOTEIO);
}

// ---- The device's state

constexpr uint64_t kStateBegun = 0x100;
constexpr uint64_t kStateRefused = 0x101;

class StateTest : public BackendTest {
 protected:
  uint64_t Begin(uint32_t direction, BorrowedFd stream, uint32_t phase = kPhaseStopped) {
    const DeviceStateTransfer ask = {.direction = direction, .phase = phase};
    return frontend_
        ->Ask<uint64_t>(MessageId::kSetDeviceStateFd, Payload(ask), std::span(&stream, 1))
        .value();
  }
  uint64_t Check() { return frontend_->Ask<uint64_t>(MessageId::kCheckDeviceState).value(); }
  void MakePipe() {
    int ends[2];
    PCHECK(pipe2(ends, O_CLOEXEC) == 0);
    read_ = UniqueFd(ends[0]);
    write_ = UniqueFd(ends[1]);
  }

  TextState state_;
  UniqueFd read_;
  UniqueFd write_;
};

TEST_F(StateTest, SavesMoreThanAPipeHolds) {
  Negotiate(&state_);
  state_.text.assign(1 << 20, 's');
  MakePipe();
  EXPECT_EQ(Begin(kStateSave, write_), kStateBegun);
  write_.Reset();
  std::string all;
  char buffer[65536];
  for (ssize_t got; (got = read(read_.get(), buffer, sizeof(buffer))) > 0;) {
    all.append(buffer, static_cast<size_t>(got));
  }
  EXPECT_EQ(all, state_.text);
  EXPECT_EQ(Check(), 0u);
  EXPECT_NE(Check(), 0u);  // there was one
}

TEST_F(StateTest, LoadsBeforeAnythingElseIsSetUp) {
  Connect(&state_);
  MakePipe();
  EXPECT_EQ(Begin(kStateLoad, read_), kStateBegun);
  ASSERT_EQ(write(write_.get(), "state", 5), 5);
  write_.Reset();
  EXPECT_EQ(Check(), 0u);
  EXPECT_EQ(state_.text, "state");
}

TEST_F(StateTest, AFailedLoadIsTold) {
  Connect(&state_);
  MakePipe();
  EXPECT_EQ(Begin(kStateLoad, read_), kStateBegun);
  ASSERT_EQ(write(write_.get(), "bad", 3), 3);
  write_.Reset();
  EXPECT_NE(Check(), 0u);
}

TEST_F(StateTest, WhatIsRefused) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate(&state_);
  EXPECT_NE(Check(), 0u);
  MakePipe();
  EXPECT_EQ(Begin(2, read_), kStateRefused);
  EXPECT_EQ(Begin(kStateLoad, read_, /*phase=*/1), kStateRefused);
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  StartRing(ram, 1);
  EXPECT_EQ(Begin(kStateSave, write_), kStateRefused);  // the device is not suspended
  StopRing(1);
  EXPECT_EQ(Begin(kStateLoad, read_), kStateBegun);
  EXPECT_EQ(Begin(kStateLoad, read_), kStateRefused);  // one is on its way
  write_.Reset();
  EXPECT_EQ(Check(), 0u);
}

TEST_F(StateTest, WithoutAHandlerEverythingIsRefused) {
  Negotiate();
  MakePipe();
  EXPECT_EQ(Begin(kStateSave, write_), kStateRefused);
  EXPECT_NE(Check(), 0u);
}

TEST_F(StateTest, AFrontEndThatGoesEndsATransfer) {
  for (const uint32_t direction : {kStateSave, kStateLoad}) {
    Negotiate(&state_);
    state_.text.assign(1 << 20, 's');
    MakePipe();
    EXPECT_EQ(Begin(direction, direction == kStateSave ? write_ : read_), kStateBegun);
    if (direction == kStateLoad) Must(frontend_->Send(MessageId::kCheckDeviceState, {}));
    EXPECT_TRUE(Disconnect().ok());
  }
}

// A monitor that has lost its patience, or has none: the guest runs, and what is saved would be
// torn.
TEST_F(StateTest, AGuestThatGoesOnEndsATransfer) {
  GuestRam ram(1 << 20);
  Frontend& frontend = Negotiate(&state_);
  Must(frontend.SetMemoryTable(ram, Ack::kWanted));
  state_.text.assign(1 << 20, 's');
  MakePipe();
  EXPECT_EQ(Begin(kStateSave, write_), kStateBegun);
  StartRing(ram, 1);
  EXPECT_NE(device_.attached[1], nullptr);
  EXPECT_NE(Check(), 0u) << "it was not saved whole";
  // And the next one may begin.
  StopRing(1);
  state_.text = "short";
  MakePipe();
  EXPECT_EQ(Begin(kStateSave, write_), kStateBegun);
  EXPECT_EQ(Check(), 0u);
}

TEST_F(StateTest, TheLogFeatureAnnouncesAMigration) {
  Frontend& frontend = Negotiate(&state_);
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted | kFeatureLogAll, Ack::kWanted));
  EXPECT_EQ(state_.prepared, 1);
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted | kFeatureLogAll, Ack::kWanted));
  EXPECT_EQ(state_.prepared, 1);
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted, Ack::kWanted));
  EXPECT_EQ(state_.cancelled, 1);
  Must(frontend.Tell(MessageId::kSetFeatures, kAccepted | kFeatureLogAll, Ack::kWanted));
  Must(frontend.Tell(MessageId::kResetDevice, {}, {}, Ack::kWanted));
  EXPECT_EQ(state_.cancelled, 2);
}

}  // namespace
}  // namespace gofer::vhost::user
