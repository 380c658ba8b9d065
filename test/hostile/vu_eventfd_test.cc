// Descriptors for kicks, calls and errors that are something else than an eventfd of one's own: no
// thread of ours waits for them, and nothing of them is kept. Attack A-81.
//
// Source: spec/security.md s.10 vu_eventfd_test; spec/vhost-user-fs.md s.12.

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_guest.h"
#include "test/support/eventually.h"
#include "test/support/stopwatch.h"
#include "vhost/driver/driver_queue.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"
#include "vhost/user/message.h"

namespace gofer::vhost {
namespace {

using driver::Frontend;
using driver::FuseClient;
using fuse::NodeId;
using user::MessageId;

constexpr uint64_t kFull = UINT64_MAX - 1;

struct OddFd {
  const char* name;
  std::function<UniqueFd()> make;
};

UniqueFd Full(UniqueFd event) {
  PCHECK(write(event.get(), &kFull, sizeof(kFull)) == sizeof(kFull));
  return event;
}

UniqueFd PipeEnd(int which) {
  int ends[2];
  PCHECK(pipe2(ends, O_CLOEXEC) == 0);
  UniqueFd other(ends[1 - which]);
  return UniqueFd(ends[which]);
}

const OddFd kOddFds[] = {
    {"a full eventfd that blocks", [] { return Full(UniqueFd(eventfd(0, EFD_CLOEXEC))); }},
    {"a full eventfd", [] { return Full(UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))); }},
    {"a semaphore", [] { return UniqueFd(eventfd(3, EFD_CLOEXEC | EFD_SEMAPHORE)); }},
    {"a regular file", [] { return UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); }},
    {"a memory file", [] { return UniqueFd(memfd_create("odd", MFD_CLOEXEC)); }},
    {"a directory", [] { return UniqueFd(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }},
    {"a path", [] { return UniqueFd(open("/", O_PATH | O_CLOEXEC)); }},
    {"a pipe nobody writes to", [] { return PipeEnd(0); }},
    {"a pipe nobody reads from", [] { return PipeEnd(1); }},
    {"a socket", [] { return UniqueFd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)); }},
    {"an epoll", [] { return UniqueFd(epoll_create1(EPOLL_CLOEXEC)); }},
    {"/dev/zero", [] { return UniqueFd(open("/dev/zero", O_RDWR | O_CLOEXEC)); }},
    {"/dev/null", [] { return UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)); }},
};

class VuEventfdTest : public HostileGuestTest {
 protected:
  // The control thread answers, and the ring beside is served.
  void ExpectAlive() {
    const testing::Stopwatch watch;
    EXPECT_EQ(ErrorOf(machine().frontend().Ask<uint64_t>(MessageId::kGetFeatures)), 0);
    FuseClient neighbour(&machine(), {.queue = 2, .data_bytes = 0});
    EXPECT_EQ(ErrorOf(neighbour.Getattr(NodeId::kRoot)), 0);
    EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  }
  void ExpectStops() {
    const testing::Stopwatch watch;
    EXPECT_EQ(ErrorOf(machine().Stop()), 0);
    EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  }
};

TEST_F(VuEventfdTest, OddDescriptorsOfEveryKind) {
  for (const MessageId message :
       {MessageId::kSetVringCall, MessageId::kSetVringKick, MessageId::kSetVringErr}) {
    for (const OddFd& odd : kOddFds) {
      SCOPED_TRACE(user::MessageName(message) + " with " + odd.name);
      // Spinning: what the device calls is not what the client would wait for.
      Boot(Small(), {.spin = testing::kPatience});
      {
        const UniqueFd fd = odd.make();
        PCHECK(fd.valid());
        (void)machine().frontend().SetVringFd(message, 1, fd, Frontend::Ack::kWanted);
        ExpectAlive();
        // An odd kick is the guest's own loss; the rest is no reason not to be served.
        if (message != MessageId::kSetVringKick) {
          EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
        }
      }
      ExpectAlive();
      ExpectStops();
      ExpectOthersServed();
    }
  }
}

// The guest fills the counter while it is called, and so each call would have to wait.
TEST_F(VuEventfdTest, ACallDescriptorThatIsFilledUpAgainAndAgain) {
  Boot(Small(), {.spin = testing::kPatience});
  const UniqueFd call(eventfd(0, EFD_CLOEXEC));
  Must(machine().frontend().SetVringFd(MessageId::kSetVringCall, 1, call, Frontend::Ack::kWanted));
  for (int i = 0; i < 200; ++i) {
    uint64_t count;
    PCHECK(fcntl(call.get(), F_SETFL, O_NONBLOCK) == 0);
    (void)!read(call.get(), &count, sizeof(count));
    PCHECK(write(call.get(), &kFull, sizeof(kFull)) == sizeof(kFull));
    PCHECK(fcntl(call.get(), F_SETFL, 0) == 0);
    ASSERT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
  }
  ExpectStops();
}

// Kicks that the guest takes back before the device has seen them.
TEST_F(VuEventfdTest, TheGuestReadsItsOwnKicks) {
  Boot();
  for (int i = 0; i < 1000; ++i) {
    machine().queue(1).Kick();
    uint64_t count;
    (void)!read(machine().queue(1).kick_fd().get(), &count, sizeof(count));
  }
  EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
  ExpectStops();
}

// One eventfd for everything: each ring wakes the others, and the device itself.
TEST_F(VuEventfdTest, OneDescriptorForAllPurposes) {
  Boot(Small(), {.spin = testing::kPatience});
  const UniqueFd one(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  for (uint32_t ring = 0; ring < 3; ++ring) {
    for (const MessageId message :
         {MessageId::kSetVringCall, MessageId::kSetVringErr, MessageId::kSetVringKick}) {
      Must(machine().frontend().SetVringFd(message, ring, one, Frontend::Ack::kWanted));
    }
  }
  for (int i = 0; i < 20; ++i) {
    const uint64_t kick = 1;
    PCHECK(write(one.get(), &kick, sizeof(kick)) == sizeof(kick));
    ExpectOthersServed();
  }
  EXPECT_EQ(ErrorOf(machine().frontend().Ask<uint64_t>(MessageId::kGetFeatures)), 0);
  ExpectStops();
}

}  // namespace
}  // namespace gofer::vhost
