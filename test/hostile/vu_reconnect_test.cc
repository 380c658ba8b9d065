// Monitors that go in every state, and come again: nothing is left of them. And messages that no
// monitor sends: an answer that says no, or the end of that connection. Attacks.
//
// Source: spec/security.md s.10 vu_reconnect_test and vu_message_test; spec/vhost-user-fs.md s.2,
// s.22 and s.23 (12).

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_guest.h"
#include "test/support/eventually.h"
#include "test/support/stopwatch.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::vhost {
namespace {

using driver::Frontend;
using driver::FuseClient;
using driver::FuseClientOptions;
using driver::Machine;
using driver::Slot;
using fuse::NodeId;
using fuse::Opcode;
using user::MessageId;

class VuReconnectTest : public HostileGuestTest {
 protected:
  // Fills the ring with reads, none of which is waited for.
  static void Flood(FuseClient& client, NodeId file, fuse::HandleId handle) {
    while (Slot* const slot = client.Acquire()) {
      slot->Arguments().Write(fuse::ReadIn{.fh = handle,
                                           .offset = 0,
                                           .size = 65536,
                                           .read_flags = 0,
                                           .lock_owner = 0,
                                           .flags = 0,
                                           .padding = 0});
      client.Submit(*slot, Opcode::kRead, file, {.data_out = 65536});
    }
  }
};

TEST_F(VuReconnectTest, TheMonitorGoesInEveryState) {
  tree_.Write("served/f", std::string(65536, 'x'));
  constexpr FuseClientOptions kDeep = {.depth = 16, .data_bytes = 65536};
  const std::pair<const char*, std::function<void()>> kStates[] = {
      {"at once", [&] { const UniqueFd socket = server_.Connect(); }},
      {"in a header",
       [&] {
         Frontend frontend(server_.Connect());
         const std::byte half[5] = {};
         Must(frontend.SendBytes(half));
       }},
      {"before a payload",
       [&] {
         Frontend frontend(server_.Connect());
         const user::MessageHeader header = {
             .id = MessageId::kSetFeatures, .flags = user::kVersion, .size = 8};
         const UniqueFd stray(memfd_create("stray", MFD_CLOEXEC));
         const BorrowedFd fd = stray;
         Must(frontend.SendBytes(std::as_bytes(std::span(&header, 1)), std::span(&fd, 1)));
       }},
      {"before the guest starts", [&] { (void)Must(Machine::Attach(server_.Connect(), Small())); }},
      {"before the file system is mounted",
       [&] { Must(Must(Machine::Attach(server_.Connect(), Small()))->Start()); }},
      {"when nothing is asked", [&] { Boot(); }},
      {"with requests in flight",
       [&] {
         Boot(Small(), kDeep);
         const NodeId file = Must(client().Lookup(NodeId::kRoot, "f")).nodeid;
         Flood(client(), file, Must(client().Open(file, O_RDONLY)).fh);
       }},
      {"with rings disabled and requests in them",
       [&] {
         Boot(Small(), kDeep);
         const NodeId file = Must(client().Lookup(NodeId::kRoot, "f")).nodeid;
         const fuse::HandleId handle = Must(client().Open(file, O_RDONLY)).fh;
         Must(machine().Pause());
         Flood(client(), file, handle);
       }},
      {"while a stop waits for a lock",
       [&] {
         Boot(Small(), kDeep);
         const auto made = Must(client().Create(NodeId::kRoot, "locked", O_RDWR, 0600));
         fuse::LkIn lock = {.fh = made.open.fh,
                            .owner = 1,
                            .lk = {.start = 0, .end = 10, .type = F_WRLCK, .pid = 1},
                            .lk_flags = 0,
                            .padding = 0};
         Must(client().Setlk(made.entry.nodeid, lock, /*wait=*/false));
         Must(client().Unlink(NodeId::kRoot, "locked"));
         Slot* const slot = client().Acquire();
         lock.owner = 2;
         slot->Arguments().Write(lock);
         client().Submit(*slot, Opcode::kSetlkw, made.entry.nodeid, {});
         const user::VringState ring = {.index = 1, .num = 0};
         Must(machine().frontend().Send(MessageId::kGetVringBase,
                                        std::as_bytes(std::span(&ring, 1))));
       }},
      {"between a stop and a start",
       [&] {
         Boot();
         Must(machine().Stop());
       }},
      {"after the rings' memory was taken away",
       [&] {
         Boot();
         for (const RegionLayout& region : machine().ram().regions()) {
           Must(machine().frontend().RemoveRegion(region, Frontend::Ack::kWanted));
         }
       }},
  };
  for (const auto& state : kStates) {
    SCOPED_TRACE(state.first);
    const testing::Stopwatch watch;
    constexpr int kTimes = 20;
    for (int i = 0; i < kTimes; ++i) {
      state.second();
      PullThePlug();
    }
    ASSERT_TRUE(server_.WaitForConnections(1));
    EXPECT_LT(watch.Elapsed(), absl::Seconds(2) * kTimes);
  }
}

TEST_F(VuReconnectTest, AThousandMonitors) {
  for (int i = 0; i < 1000; ++i) {
    Boot();
    if (i % 100 == 0) ExpectOthersServed();
  }
}

// A message that comes byte by byte is a message.
TEST_F(VuReconnectTest, AMessageInManyPieces) {
  Frontend frontend(server_.Connect());
  const user::MessageHeader header = {
      .id = MessageId::kGetFeatures, .flags = user::kVersion, .size = 0};
  for (const std::byte& byte : std::as_bytes(std::span(&header, 1))) {
    Must(frontend.SendBytes(std::span(&byte, 1)));
    absl::SleepFor(absl::Milliseconds(1));
  }
  EXPECT_EQ(Must(frontend.Receive(MessageId::kGetFeatures)).payload.size(), 8u);
}

// Every number with every size, filled with what would be large numbers, small ones, and
// descriptors nobody asked for.
TEST_F(VuReconnectTest, EveryMessageOfEverySize) {
  const UniqueFd stray(memfd_create("stray", MFD_CLOEXEC));
  for (uint32_t id = 0; id < 60; ++id) {
    for (const size_t size : {0, 1, 4, 7, 8, 12, 16, 20, 32, 40, 41, 264, 268, 4096}) {
      for (const int fill : {0x00, 0x01, 0xff}) {
        SCOPED_TRACE(absl::StrCat("message ", id, " of ", size, " bytes of ", fill));
        auto machine = Machine::Attach(server_.Connect(), Small());
        ASSERT_TRUE(machine.ok());
        const std::vector<std::byte> payload(size, static_cast<std::byte>(fill));
        const BorrowedFd fds[] = {stray, stray};
        Frontend& frontend = (*machine)->frontend();
        Must(frontend.Send(static_cast<MessageId>(id), payload,
                           std::span(fds).first(fill == 0   ? 0
                                                : fill == 1 ? 1
                                                            : 2),
                           user::kNeedReplyFlag));
        // Answers, or the end, to what may have switched answers off too; nothing that takes long.
        (void)frontend.Send(MessageId::kGetFeatures, {});
        pollfd answer = {.fd = frontend.socket().get(), .events = POLLIN, .revents = 0};
        ASSERT_EQ(poll(&answer, 1, absl::ToInt64Milliseconds(testing::kPatience)), 1)
            << "no answer";
      }
    }
  }
  ExpectOthersServed();
}

// Frames that cannot be: the connection ends, and only that.
TEST_F(VuReconnectTest, FramesThatCannotBe) {
  for (const user::MessageHeader& header :
       {user::MessageHeader{MessageId::kGetFeatures, 0, 0},
        user::MessageHeader{MessageId::kGetFeatures, 2, 0},
        user::MessageHeader{MessageId::kGetFeatures, user::kVersion, UINT32_MAX},
        user::MessageHeader{MessageId::kGetFeatures, user::kVersion, 4097}}) {
    SCOPED_TRACE(absl::StrCat("flags ", header.flags, ", size ", header.size));
    Frontend frontend(server_.Connect());
    Must(frontend.SendBytes(std::as_bytes(std::span(&header, 1))));
    EXPECT_EQ(ErrorOf(frontend.Receive(MessageId::kGetFeatures)), ESHUTDOWN);
  }
}

// Everything at random, on a guest that runs and asks for things meanwhile.
TEST_F(VuReconnectTest, AStormOfMessages) {
  std::minstd_rand random(1);
  const UniqueFd stray(memfd_create("stray", MFD_CLOEXEC));
  PCHECK(ftruncate(stray.get(), 1 << 20) == 0);
  const UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const absl::Time until = absl::Now() + absl::Seconds(2);
  while (absl::Now() < until) {
    Boot(Small(), {.depth = 4, .data_bytes = 4096});
    for (int i = 0; i < 50; ++i) {
      std::vector<std::byte> payload(random() % 3 == 0 ? random() % 300 : (random() % 6) * 8);
      for (std::byte& byte : payload) {
        byte = random() % 4 == 0 ? static_cast<std::byte>(random()) : std::byte{0};
      }
      // Often a number that means a ring or a small count.
      if (!payload.empty()) payload[0] = static_cast<std::byte>(random() % 4);
      const BorrowedFd fds[] = {random() % 2 == 0 ? BorrowedFd(stray) : BorrowedFd(event), event};
      const uint32_t flags = random() % 2 == 0 ? user::kNeedReplyFlag : 0;
      const auto id = static_cast<MessageId>(random() % 45);
      if (!machine().frontend().Send(id, payload, std::span(fds).first(random() % 3), flags).ok()) {
        break;
      }
      if (Slot* const slot = client().Acquire()) {
        slot->Arguments().Write(fuse::GetattrIn{});
        client().Submit(*slot, Opcode::kGetattr, NodeId::kRoot, {.result = sizeof(fuse::AttrOut)});
      }
    }
  }
  ExpectOthersServed();
}

}  // namespace
}  // namespace gofer::vhost
