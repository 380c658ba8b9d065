// A control socket that is flooded by those who may use it: with clients that say nothing, requests
// that never end, are too large or are none. Nothing is executed, clients of the files do not
// notice, and commands work again as soon as there is room. Attack A-122.
//
// Source: spec/security.md s.5 and s.10.

#include <poll.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "test/hostile/hostile_process.h"
#include "test/support/eventually.h"
#include "test/support/stopwatch.h"

namespace gofer::testing {
namespace {

constexpr size_t kClients = 8;
constexpr uint32_t kMaxRequest = 64 << 10;

std::string Sized(uint32_t size, absl::string_view bytes) {
  std::string message(sizeof(size), '\0');
  std::memcpy(message.data(), &size, sizeof(size));
  message.append(bytes.data(), bytes.size());
  return message;
}

class ControlFloodTest : public HostileProcessTest {
 protected:
  UniqueFd Say(absl::string_view bytes) {
    UniqueFd socket = ConnectSocket("control");
    EXPECT_TRUE(socket.valid());
    (void)send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    return socket;
  }
  // Whether the gofer closes it.
  static bool IsClosed(BorrowedFd socket) {
    const absl::Time deadline = absl::Now() + kPatience;
    char buffer[4096];
    while (absl::Now() < deadline) {
      struct pollfd one = {.fd = socket.get(), .events = POLLIN, .revents = 0};
      if (poll(&one, 1, 100) == 1 && recv(socket.get(), buffer, sizeof(buffer), 0) <= 0) {
        return true;
      }
    }
    return false;
  }
  // One who comes when there is room again.
  void ExpectCommandsWork() {
    const absl::Time deadline = absl::Now() + kPatience;
    for (;;) {
      GoferProcess process(
          GoferStart{.name = "gofer",
                     .arguments = {"status", "--control_socket=" + run_.At("control"), "--json"}});
      if (process.Wait() == 0) return;
      ASSERT_LT(absl::Now(), deadline) << process.Stderr();
      absl::SleepFor(absl::Milliseconds(10));
    }
  }
};

TEST_F(ControlFloodTest, ManyThatSayNothing) {
  Start();
  std::vector<UniqueFd> idle;
  for (size_t i = 0; i < 100; ++i) idle.push_back(ConnectSocket("control"));
  size_t refused = 0;
  for (size_t i = kClients; i < idle.size(); ++i) {
    refused += idle[i].valid() && IsClosed(idle[i]) ? 1 : 0;
  }
  EXPECT_EQ(refused, idle.size() - kClients);
  EXPECT_LE(Threads(), 2 + kClients);
  ExpectHonestServed();
  idle.clear();
  ExpectCommandsWork();
}

// Half a request keeps a client's place for the deadline, and no longer.
TEST_F(ControlFloodTest, RequestsThatNeverEnd) {
  Start();
  std::vector<UniqueFd> slow;
  const Stopwatch watch;
  const absl::Time start = absl::Now();
  for (size_t i = 0; i < kClients; ++i) slow.push_back(Say(Sized(kMaxRequest, "half")));
  ExpectHonestServed();
  for (const UniqueFd& socket : slow) EXPECT_TRUE(IsClosed(socket));
  EXPECT_LT(watch.Elapsed(), absl::Seconds(8));
  EXPECT_GT(absl::Now() - start, absl::Seconds(3)) << "a slow one is given time";
  ExpectCommandsWork();
}

TEST_F(ControlFloodTest, AsManyAndAsSlowAsFlagsAllow) {
  Start({"--max_control_clients=2", "--control_request_seconds=1"});
  std::vector<UniqueFd> idle;
  for (int i = 0; i < 20; ++i) idle.push_back(ConnectSocket("control"));
  for (size_t i = 2; i < idle.size(); ++i) EXPECT_TRUE(IsClosed(idle[i])) << i;
  ExpectHonestServed();
  idle.clear();
  ExpectCommandsWork();
  const Stopwatch watch;
  const UniqueFd slow = Say(Sized(kMaxRequest, "half"));
  EXPECT_TRUE(IsClosed(slow));
  EXPECT_LT(watch.Elapsed(), absl::Seconds(4));
  ExpectCommandsWork();
}

TEST_F(ControlFloodTest, RequestsThatAreNone) {
  Start();
  const int64_t before = ResidentKiB();
  std::minstd_rand random(1);
  for (const uint32_t size : {kMaxRequest + 1, 0x7fffffffu, 0x80000000u, UINT32_MAX}) {
    EXPECT_TRUE(IsClosed(Say(Sized(size, std::string(1000, 'x'))))) << size;
  }
  for (int i = 0; i < 200; ++i) {
    std::string bytes(random() % 100, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    // Not by chance what ends it: field 4 and the like are told by their first byte's high bits.
    if (!bytes.empty()) bytes[0] = static_cast<char>(0xff);
    const UniqueFd socket = Say(Sized(static_cast<uint32_t>(bytes.size() + random() % 2), bytes));
    shutdown(socket.get(), SHUT_WR);
    EXPECT_TRUE(IsClosed(socket));
  }
  EXPECT_LT(ResidentKiB(), before + (8 << 10)) << "an announced size allocates nothing";
  EXPECT_TRUE(gofer_->Running());
  ExpectHonestServed();
  ExpectCommandsWork();
}

}  // namespace
}  // namespace gofer::testing
