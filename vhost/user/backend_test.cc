// What each message does, with a device that serves nothing. What a guest gets is in
// //vhost/virtio_fs, what hostile front-ends get in //test/hostile.

#include "vhost/user/backend.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/user/device.h"
#include "vhost/user/message.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::user {
namespace {

using driver::Frontend;
using driver::GuestRam;
using driver::RamBlock;
using testing::ErrorOf;
using testing::Must;
using Ack = Frontend::Ack;

constexpr uint64_t kAccepted =
    kFeatureVersion1 | kFeatureProtocolFeatures | kFeatureIndirectDesc | kFeatureEventIdx;

class IdleDevice final : public Device {
 public:
  uint64_t features() const override { return 0; }
  std::span<const std::byte> config() const override { return config_; }
  absl::Status Attach(uint32_t index, VirtQueue& queue, BorrowedFd) override {
    if (refuses) return absl::ResourceExhaustedError("no more descriptors");
    attached[index] = &queue;
    return absl::OkStatus();
  }
  void Wake(uint32_t) override { ++wakes; }
  void Detach(uint32_t index) override { attached[index] = nullptr; }
  void CancelWaiting() override { ++cancels; }
  void Reset() override { ++resets; }

  std::vector<std::byte> config_;
  std::array<VirtQueue*, kMaxQueues> attached = {};
  bool refuses = false;
  int wakes = 0;
  int cancels = 0;
  int resets = 0;
};

// Saves and loads a text, in pieces that fill a pipe.
class TextState final : public DeviceStateHandler {
 public:
  absl::Status Save(BorrowedFd stream, BorrowedFd given_up) override {
    for (size_t done = 0; done < text.size();) {
      struct pollfd entries[] = {{.fd = stream.get(), .events = POLLOUT, .revents = 0},
                                 {.fd = given_up.get(), .events = POLLIN, .revents = 0}};
      PCHECK(poll(entries, 2, -1) > 0);
      if (entries[1].revents != 0) return absl::CancelledError("given up");
      const ssize_t put =
          write(stream.get(), text.data() + done, std::min<size_t>(PIPE_BUF, text.size() - done));
      if (put < 0) return absl::UnavailableError("nobody reads");
      done += static_cast<size_t>(put);
    }
    return absl::OkStatus();
  }
  absl::Status Load(BorrowedFd stream, BorrowedFd given_up) override {
    text.clear();
    for (;;) {
      struct pollfd entries[] = {{.fd = stream.get(), .events = POLLIN, .revents = 0},
                                 {.fd = given_up.get(), .events = POLLIN, .revents = 0}};
      PCHECK(poll(entries, 2, -1) > 0);
      if (entries[1].revents != 0) return absl::CancelledError("given up");
      char buffer[4096];
      const ssize_t got = read(stream.get(), buffer, sizeof(buffer));
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text == "bad" ? absl::DataLossError("bad") : absl::OkStatus();
  }
  void Prepare() override { ++prepared; }
  void CancelPreparation() override { ++cancelled; }

  std::string text;
  int prepared = 0;
  int cancelled = 0;
};

UniqueFd NewEvent() { return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

// Whether somebody has raised it since the last time.
bool Raised(BorrowedFd event) {
  uint64_t count;
  return read(event.get(), &count, sizeof(count)) == sizeof(count);
}

template <WireStruct T>
std::span<const std::byte> Payload(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

class BackendTest : public ::testing::Test {
 protected:
  ~BackendTest() override { (void)Disconnect(); }

  Frontend& Connect(DeviceStateHandler* state = nullptr) {
    int ends[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    auto backend = Backend::Create(UniqueFd(ends[0]), device_, state);
    CHECK(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    frontend_.emplace(UniqueFd(ends[1]));
    thread_ = std::thread([this] { ended_ = backend_->Serve(); });
    return *frontend_;
  }
  // Up to where a VMM sets up memory and rings.
  Frontend& Negotiate(DeviceStateHandler* state = nullptr) {
    Frontend& frontend = Connect(state);
    protocol_ = frontend.Ask<uint64_t>(MessageId::kGetProtocolFeatures).value();
    CHECK(frontend.Tell(MessageId::kSetProtocolFeatures, protocol_).ok());
    CHECK(frontend.Tell(MessageId::kSetFeatures, kAccepted, Ack::kWanted).ok());
    return frontend;
  }
  absl::Status Disconnect() {
    frontend_.reset();
    return Ended();
  }
  // The back-end has ended by itself, or the front-end has gone.
  absl::Status Ended() {
    if (backend_ == nullptr) return ended_;
    thread_.join();
    CHECK(backend_->Quiesce(absl::Seconds(10)));
    backend_.reset();
    return ended_;
  }
  bool Alive() { return frontend_->Ask<uint64_t>(MessageId::kGetFeatures).ok(); }

  // A ring in `ram`, zeroed, up to where a kick starts it.
  VringAddr Describe(GuestRam& ram, uint32_t index, uint32_t size = 128) {
    const RamBlock desc = ram.Allocate(DescriptorTableSize(size), 16);
    const RamBlock avail = ram.Allocate(AvailableSize(size), 2);
    const RamBlock used = ram.Allocate(UsedSize(size), 4);
    const VringAddr addr = {.index = index,
                            .flags = 0,
                            .desc = ram.UserAddress(desc.guest_address),
                            .used = ram.UserAddress(used.guest_address),
                            .avail = ram.UserAddress(avail.guest_address),
                            .log = used.guest_address};
    Must(frontend_->Tell(MessageId::kSetVringNum, VringState{index, size}, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringBase, VringState{index, 0}, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringAddr, addr, Ack::kWanted));
    return addr;
  }
  VringAddr StartRing(GuestRam& ram, uint32_t index) {
    const VringAddr addr = Describe(ram, index);
    const UniqueFd kick = NewEvent();
    Must(frontend_->SetVringFd(MessageId::kSetVringKick, index, kick, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringEnable, VringState{index, 1}, Ack::kWanted));
    return addr;
  }
  uint32_t StopRing(uint32_t index) {
    return frontend_->Ask<VringState>(MessageId::kGetVringBase, Payload(VringState{index, 0}))
        .value()
        .num;
  }

  IdleDevice device_;
  uint64_t protocol_ = 0;
  std::unique_ptr<Backend> backend_;
  std::optional<Frontend> frontend_;
  std::thread thread_;
  absl::Status ended_;
};

// ---- Negotiation

TEST_F(BackendTest, OffersNothingThatItCannotServe) {
  Frontend& frontend = Connect();
  EXPECT_EQ(frontend.Ask<uint64_t>(MessageId::kGetFeatures).value(), 0x1'7400'0000u);
  EXPECT_EQ(frontend.Ask<uint64_t>(MessageId::kGetProtocolFeatures).value(), 0xB42Bu);
  EXPECT_EQ(frontend.Ask<uint64_t>(MessageId::kGetQueueNum).value(), 256u);
  EXPECT_EQ(frontend.Ask<uint64_t>(MessageId::kGetMaxMemSlots).value(), 509u);
}

TEST_F(BackendTest, OffersMigrationWhereThereIsAHandler) {
  TextState state;
  EXPECT_EQ(Connect(&state).Ask<uint64_t>(MessageId::kGetProtocolFeatures).value(), 0x8'B42Bu);
}

// Trap 5: QEMU 7.1 to 8.0 crash over CONFIG, and STATUS is never offered.
TEST_F(BackendTest, OffersConfigurationOnlyWhereThereIsOne) {
  device_.config_.resize(44);
  EXPECT_EQ(Connect().Ask<uint64_t>(MessageId::kGetProtocolFeatures).value(), 0xB62Bu);
}

TEST_F(BackendTest, FeaturesThatWereNotOffered) {
  Frontend& frontend = Negotiate();
  for (int bit = 0; bit < 64; ++bit) {
    const bool offered = (0x1'7400'0000u >> bit & 1) != 0;
    const bool tolerated = bit == 24 || bit == 27;  // QEMU lets drivers accept them anyway
    const uint64_t features = kAccepted | uint64_t{1} << bit;
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetFeatures, features, Ack::kWanted)),
              offered || tolerated ? 0 : EREMOTEIO)
        << bit;
  }
  for (const int bit : {2, 8, 9, 16, 19, 20, 63}) {
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetProtocolFeatures, protocol_ | uint64_t{1} << bit,
                                    Ack::kWanted)),
              EREMOTEIO)
        << bit;
  }
}

TEST_F(BackendTest, FeaturesThatWereNotOfferedAndNoWayToSaySo) {
  Must(Connect().Tell(MessageId::kSetFeatures, ~uint64_t{0}));
  EXPECT_TRUE(absl::IsInvalidArgument(Ended()));
}

TEST_F(BackendTest, AcknowledgesOnlyOnceThatIsNegotiated) {
  Frontend& frontend = Connect();
  // Not yet: no answer, so the next one is that of the next message.
  Must(frontend.Send(MessageId::kSetOwner, {}, {}, kNeedReplyFlag));
  EXPECT_TRUE(Alive());
  Must(frontend.Tell(MessageId::kSetProtocolFeatures, kProtocolReplyAck));
  Must(frontend.Tell(MessageId::kSetOwner, {}, {}, Ack::kWanted));
  Must(frontend.Tell(MessageId::kSetOwner, {}, {}, Ack::kWanted));  // a second one is fine
  // A message with a reply of its own gets no second one.
  Must(frontend.Send(MessageId::kGetQueueNum, {}, {}, kNeedReplyFlag));
  EXPECT_TRUE(frontend.Receive(MessageId::kGetQueueNum).ok());
  EXPECT_TRUE(Alive());
}

// ---- What is wrong with a message

TEST_F(BackendTest, UnknownMessagesAreRefusedAndNothingElse) {
  Frontend& frontend = Negotiate();
  for (const uint32_t id :
       {0u, 19u, 20u, 22u, 23u, 26u, 28u, 33u, 35u, 39u, 40u, 41u, 44u, 1000u, 0xffffffffu}) {
    std::byte payload[64] = {};
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId{id}, payload, {}, Ack::kWanted)), EREMOTEIO) << id;
    const UniqueFd fd = NewEvent();
    const BorrowedFd fds[] = {fd};
    Must(frontend.Send(MessageId{id}, payload, fds));
    EXPECT_TRUE(Alive()) << id;
  }
}

TEST_F(BackendTest, WrongSizesAreRefused) {
  Frontend& frontend = Negotiate();
  std::byte payload[512] = {};
  for (const MessageId id :
       {MessageId::kSetFeatures, MessageId::kSetVringNum, MessageId::kSetVringAddr,
        MessageId::kSetMemTable, MessageId::kAddMemReg, MessageId::kSetVringKick,
        MessageId::kSetInflightFd, MessageId::kSetLogBase, MessageId::kGetVringBase}) {
    for (const size_t size : {0u, 1u, 3u, 7u, 9u, 19u, 39u, 41u, 265u, 512u}) {
      EXPECT_EQ(ErrorOf(frontend.Tell(id, std::span(payload).first(size), {}, Ack::kWanted)),
                EREMOTEIO)
          << MessageName(id) << ", " << size << " bytes";
    }
  }
}

TEST_F(BackendTest, WrongSizeAndNoWayToSaySo) {
  Must(Connect().Send(MessageId::kSetFeatures, {}));
  EXPECT_TRUE(absl::IsInvalidArgument(Ended()));
}

TEST_F(BackendTest, DescriptorsAreCounted) {
  const size_t before = testing::CountOpenFds();
  {
    Frontend& frontend = Negotiate();
    const UniqueFd event = NewEvent();
    const std::vector<BorrowedFd> fds(9, event);
    const uint64_t ring = 1;
    const uint64_t without = 1 | 1 << 8;
    const auto tell = [&](MessageId id, const uint64_t& payload, size_t count) {
      return ErrorOf(
          frontend.Tell(id, Payload(payload), std::span(fds).first(count), Ack::kWanted));
    };
    EXPECT_EQ(tell(MessageId::kSetVringCall, ring, 0), EREMOTEIO);
    EXPECT_EQ(tell(MessageId::kSetVringCall, ring, 1), 0);
    EXPECT_EQ(tell(MessageId::kSetVringCall, ring, 2), EREMOTEIO);
    EXPECT_EQ(tell(MessageId::kSetVringCall, without, 0), 0);
    EXPECT_EQ(tell(MessageId::kSetVringCall, without, 1), EREMOTEIO);
    EXPECT_EQ(tell(MessageId::kSetFeatures, kAccepted, 0), 0);
    EXPECT_EQ(tell(MessageId::kSetFeatures, kAccepted, 1), EREMOTEIO);
    EXPECT_TRUE(Disconnect().ok());
  }
  EXPECT_EQ(testing::CountOpenFds(), before);
}

TEST_F(BackendTest, RingsThatThereAreNot) {
  Frontend& frontend = Negotiate();
  for (const uint32_t index : {256u, 257u, 0xffffu, 0xffffffffu}) {
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringNum, VringState{index, 128}, Ack::kWanted)),
              EREMOTEIO);
    EXPECT_EQ(
        ErrorOf(frontend.Tell(MessageId::kSetVringEnable, VringState{index, 1}, Ack::kWanted)),
        EREMOTEIO);
    EXPECT_EQ(StopRing(index), 0u);  // and an answer all the same
  }
  Must(frontend.Tell(MessageId::kSetVringNum, VringState{255, 128}, Ack::kWanted));
}

TEST_F(BackendTest, RingSizesAndIndices) {
  Frontend& frontend = Negotiate();
  for (const uint32_t size : {0u, 3u, 127u, 32769u, 65536u, 0xffffffffu}) {
    EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringNum, VringState{1, size}, Ack::kWanted)),
              EREMOTEIO)
        << size;
  }
  for (const uint32_t size : {1u, 2u, 1024u, 32768u}) {
    Must(frontend.Tell(MessageId::kSetVringNum, VringState{1, size}, Ack::kWanted));
  }
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringBase, VringState{1, 65536}, Ack::kWanted)),
            EREMOTEIO);
  EXPECT_EQ(ErrorOf(frontend.Tell(MessageId::kSetVringEnable, VringState{1, 2}, Ack::kWanted)),
            EREMOTEIO);
}

TEST_F(BackendTest, CallsGoToEventfdsAlone) {
  Frontend& frontend = Negotiate();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  const UniqueFd file(memfd_create("call", MFD_CLOEXEC));
  for (const MessageId id : {MessageId::kSetVringCall, MessageId::kSetVringErr}) {
    EXPECT_EQ(ErrorOf(frontend.SetVringFd(id, 1, write_end, Ack::kWanted)), EREMOTEIO);
    EXPECT_EQ(ErrorOf(frontend.SetVringFd(id, 1, file, Ack::kWanted)), EREMOTEIO);
    EXPECT_EQ(ErrorOf(frontend.SetVringFd(id, 1, frontend.socket(), Ack::kWanted)), EREMOTEIO);
    EXPECT_EQ(ErrorOf(frontend.SetVringFd(id, 1, NewEvent(), Ack::kWanted)), 0);
  }
}

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
