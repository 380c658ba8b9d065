// Front-ends whose messages make no sense: every id with every size and number of descriptors,
// every cut, values at their limits, in any state. The message is refused or the connection ends;
// nothing is leaked, no request hangs, and the next front-end is served. Attacks,
//
//
// Source: spec/security.md s.10 vu_message_test; spec/vhost-user-fs.md s.22.

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_guest.h"
#include "test/support/eventually.h"
#include "test/support/temp_tree.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::vhost {
namespace {

using driver::Frontend;
using user::MessageId;

class VuMessageTest : public HostileGuestTest {
 protected:
  VuMessageTest()
      : event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), memory_(memfd_create("m", MFD_CLOEXEC)) {
    EXPECT_EQ(ftruncate(memory_.get(), 1 << 20), 0);
  }
  void TearDown() override {
    frontend_.reset();
    event_.Reset();
    memory_.Reset();
    HostileGuestTest::TearDown();
  }

  // A front-end that has said what it can, and would like to hear of failures.
  Frontend& Negotiated() {
    frontend_.emplace(server_.Connect());
    const uint64_t features =
        user::kFeatureVersion1 | user::kFeatureProtocolFeatures | user::kFeatureEventIdx;
    const uint64_t offered = Must(frontend_->Ask<uint64_t>(MessageId::kGetProtocolFeatures));
    Must(frontend_->Tell(MessageId::kSetProtocolFeatures, offered));
    Must(frontend_->Tell(MessageId::kSetFeatures, features, Frontend::Ack::kWanted));
    return *frontend_;
  }
  // Reads whatever has been answered so far, and says whether the connection is still there.
  bool Drain() {
    for (;;) {
      std::byte bytes[4096];
      alignas(cmsghdr) char control[1024];
      iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
      msghdr message = {};
      message.msg_iov = &part;
      message.msg_iovlen = 1;
      message.msg_control = control;
      message.msg_controllen = sizeof(control);
      const ssize_t got =
          recvmsg(frontend_->socket().get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
      for (cmsghdr* record = CMSG_FIRSTHDR(&message); got > 0 && record != nullptr;
           record = CMSG_NXTHDR(&message, record)) {
        int fds[64];
        const size_t size = record->cmsg_len - CMSG_LEN(0);
        std::memcpy(fds, CMSG_DATA(record), size);
        for (size_t i = 0; i < size / sizeof(int); ++i) close(fds[i]);
      }
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
    }
  }
  // Whether the back-end still answers, after everything that came before.
  bool Answers() {
    if (!frontend_->Send(MessageId::kGetQueueNum, {}).ok()) return false;
    const absl::Time deadline = absl::Now() + absl::Seconds(5);
    std::vector<std::byte> seen;
    // Replies to what came before are thrown away with it: what counts is that there is one.
    while (absl::Now() < deadline) {
      struct pollfd entry = {.fd = frontend_->socket().get(), .events = POLLIN, .revents = 0};
      if (poll(&entry, 1, 1000) == 1) return Drain();
    }
    return false;
  }

  UniqueFd event_;
  UniqueFd memory_;
  std::optional<Frontend> frontend_;
};

TEST_F(VuMessageTest, EveryIdWithEverySizeAndAnyDescriptors) {
  std::mt19937 random(1);
  Negotiated();
  for (uint32_t id = 0; id < 48; ++id) {
    for (size_t size = 0; size <= 300; size += size < 48 ? 1 : 21) {
      for (const uint8_t fill : {uint8_t{0x00}, uint8_t{0x01}, uint8_t{0xff}}) {
        std::vector<std::byte> payload(size, std::byte{fill});
        std::vector<BorrowedFd> fds;
        for (uint32_t n = random() % 10; n > 0; --n) {
          fds.push_back(random() % 2 == 0 ? event_.borrow() : memory_.borrow());
        }
        const uint32_t flags = random() % 2 == 0 ? user::kNeedReplyFlag : 0;
        const bool sent = frontend_->Send(MessageId{id}, payload, fds, flags).ok();
        if (!sent || !Drain()) Negotiated();
      }
    }
    if (!Answers()) Negotiated();
  }
  Negotiated();
}

// Values that mean something, at their limits, in an order that nobody chose.
TEST_F(VuMessageTest, RandomSequencesOfPlausibleMessages) {
  std::mt19937 random(2);
  const uint64_t interesting[] = {
      0,    1,    2,        3,      127,        128,        255,        256,         257,
      4095, 4096, 0x100000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, ~uint64_t{0}};
  Negotiated();
  for (int i = 0; i < 20'000; ++i) {
    const auto id = MessageId{static_cast<uint32_t>(random() % 48)};
    const user::MessageRule* const rule = user::FindMessageRule(id);
    if (rule == nullptr) continue;
    const size_t size = rule->min_size + random() % (rule->max_size - rule->min_size + 1);
    std::vector<std::byte> payload(size);
    for (size_t at = 0; at < size;) {
      const uint64_t value = interesting[random() % std::size(interesting)];
      const size_t width = std::min<size_t>(random() % 2 == 0 ? 4 : 8, size - at);
      std::memcpy(payload.data() + at, &value, width);
      at += width;
    }
    std::vector<BorrowedFd> fds;
    for (uint32_t n = rule->min_fds; n > 0; --n) {
      fds.push_back(random() % 2 == 0 ? event_.borrow() : memory_.borrow());
    }
    const uint32_t flags = random() % 4 != 0 ? user::kNeedReplyFlag : 0;
    const bool sent = frontend_->Send(id, payload, fds, flags).ok();
    if (!sent || !Drain()) Negotiated();
  }
  if (!Answers()) Negotiated();
}

TEST_F(VuMessageTest, EndsAtEveryByteOfASetUp) {
  // What a start looks like on the wire.
  std::vector<std::byte> wire;
  const auto add = [&](MessageId id, std::span<const std::byte> payload) {
    const user::MessageHeader header = {.id = id,
                                        .flags = user::kVersion | user::kNeedReplyFlag,
                                        .size = static_cast<uint32_t>(payload.size())};
    const auto* const bytes = reinterpret_cast<const std::byte*>(&header);
    wire.insert(wire.end(), bytes, bytes + sizeof(header));
    wire.insert(wire.end(), payload.begin(), payload.end());
  };
  const uint64_t features = user::kFeatureVersion1 | user::kFeatureProtocolFeatures;
  const uint64_t protocol = user::kProtocolReplyAck | user::kProtocolMq;
  const user::VringState ring = {.index = 1, .num = 128};
  const user::VringAddr addr = {
      .index = 1, .flags = 0, .desc = 0x1000, .used = 0x3000, .avail = 0x2000, .log = 0};
  add(MessageId::kGetFeatures, {});
  add(MessageId::kSetProtocolFeatures, std::as_bytes(std::span(&protocol, 1)));
  add(MessageId::kSetFeatures, std::as_bytes(std::span(&features, 1)));
  add(MessageId::kSetVringNum, std::as_bytes(std::span(&ring, 1)));
  add(MessageId::kSetVringAddr, std::as_bytes(std::span(&addr, 1)));
  add(MessageId::kSetVringEnable, std::as_bytes(std::span(&ring, 1)));
  add(MessageId::kGetVringBase, std::as_bytes(std::span(&ring, 1)));
  for (size_t n = 0; n <= wire.size(); ++n) {
    frontend_.emplace(server_.Connect());
    const BorrowedFd fds[] = {event_};
    if (n > 0) Must(frontend_->SendBytes(std::span(wire).first(n), fds));
    frontend_.reset();
  }
}

TEST_F(VuMessageTest, FramesThatAreNone) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    frontend_.emplace(server_.Connect());
    std::vector<std::byte> bytes(1 + random() % 400);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const std::vector<BorrowedFd> fds(random() % 20, event_);
    (void)frontend_->SendBytes(bytes, fds).ok();
  }
}

// Row 30 of spec/security.md s.5: what a front-end can make us hold is bounded.
TEST_F(VuMessageTest, NothingPilesUp) {
  Frontend& frontend = Negotiated();
  const size_t before = testing::CountOpenFds();
  for (uint32_t i = 0; i < 2000; ++i) {
    const uint32_t ring = i % 256;
    Must(frontend.SetVringFd(MessageId::kSetVringCall, ring, event_, Frontend::Ack::kWanted));
    Must(frontend.SetVringFd(MessageId::kSetVringErr, ring, event_, Frontend::Ack::kWanted));
    Must(frontend.SetVringFd(MessageId::kSetVringKick, ring, event_, Frontend::Ack::kWanted));
    const BorrowedFd fd = event_;
    Must(frontend.Tell(MessageId::kSetBackendReqFd, {}, std::span(&fd, 1), Frontend::Ack::kWanted));
  }
  // Three of each ring, and the channel; and for a moment those that they have replaced.
  EXPECT_TRUE(testing::Eventually([&] { return testing::CountOpenFds() <= before + 3 * 256 + 1; }))
      << testing::CountOpenFds();
}

}  // namespace
}  // namespace gofer::vhost
