// What is negotiated, and what is wrong with a message, with a device that serves nothing. What a
// guest gets is in //vhost/virtio_fs, what hostile front-ends get in //test/hostile.

#include "vhost/user/backend.h"

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

}  // namespace
}  // namespace gofer::vhost::user
