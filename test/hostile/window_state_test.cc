// Illegal states and lengths of a window, in each phase: that channel ends, without spinning and
// without holding anything up; its connection and all others go on. Attacks.

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/sys/futex.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"
#include "test/support/eventually.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

constexpr uint32_t kShutDown = 2;

class WindowState : public HostileTest {
 protected:
  static bool WaitForEnd(ChannelWay& way) {
    return gofer::testing::Eventually([&] { return way.state() == kShutDown; });
  }
  static void Poke(ChannelWay& way, uint32_t state) {
    way.state() = state;
    gofer::sys::FutexWake(way.state(), INT_MAX);
  }
};

TEST_F(WindowState, IllegalBeforeTheHandshake) {
  for (const uint32_t state : {3u, 7u, 0x80000000u, UINT32_MAX}) {
    const std::unique_ptr<Client> client = server_.Connect();
    const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(Must(client->RequestChannel())));
    Poke(*way, state);
    EXPECT_TRUE(WaitForEnd(*way)) << state;
    EXPECT_EQ(ErrorOf(client->Mount()), 0);
  }
}

TEST_F(WindowState, IllegalWhileIdle) {
  for (const uint32_t state : {3u, 7u, UINT32_MAX}) {
    Session session(server_, Via::kChannel);
    ChannelWay& way = session.client().channel_way(0);
    Poke(way, state);
    EXPECT_TRUE(WaitForEnd(way)) << state;
    EXPECT_EQ(ErrorOf(session.client().over_socket().FStat(session.root())), 0);
  }
}

TEST_F(WindowState, IllegalWhileTheServerWorks) {
  for (const uint32_t state : {0u, 3u, UINT32_MAX}) {
    Session session(server_, Via::kChannel);
    ChannelWay& way = session.client().channel_way(0);
    for (int i = 0; i < 200 && way.alive(); ++i) {
      const FdId root = session.root();
      const ChannelHeader header = {.message = MessageId::kFStat, .num_fds = 0, .pad = 0};
      std::memcpy(way.window().data() + sizeof(PacketHeader), &header, sizeof(header));
      std::memcpy(way.request().data(), &root, sizeof(root));
      way.data_len() = sizeof(header) + sizeof(root);
      way.state() = 1;
      gofer::sys::FutexWake(way.state(), 1);
      // A little later each time, without giving up the processor.
      const absl::Time later = absl::Now() + i * absl::Nanoseconds(150);
      while (absl::Now() < later) {
      }
      Poke(way, state);
    }
    EXPECT_EQ(ErrorOf(session.client().over_socket().FStat(session.root())), 0);
  }
}

TEST_F(WindowState, TurnTakenBackAndGivenAtFullSpeed) {
  Session session(server_, Via::kChannel);
  ChannelWay& way = session.client().channel_way(0);
  std::atomic<bool> done{false};
  std::thread flipper([&] {
    for (uint32_t i = 0; !done; ++i) {
      way.state().store(i & 1, std::memory_order_relaxed);
      if (i % 64 == 0) gofer::sys::FutexWake(way.state(), INT_MAX);
    }
  });
  for (int i = 0; i < 20; ++i) ExpectOthersServed();
  done = true;
  flipper.join();
  EXPECT_EQ(ErrorOf(session.client().over_socket().FStat(session.root())), 0);
}

// The client leaves, but something of it goes on to write into the memory: the state is never
// allowed to stay what the server made it.
TEST_F(WindowState, StateRewrittenWhileTheConnectionEnds) {
  for (int round = 0; round < 10; ++round) {
    auto session = std::make_unique<Session>(server_, Via::kChannel);
    ChannelGrant grant = Must(session->client().RequestChannel());
    const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(std::move(grant)));
    Must(way->Handshake());
    std::atomic<bool> done{false};
    std::thread writer([&] {
      while (!done) way->state().store(0, std::memory_order_relaxed);
    });
    session.reset();
    EXPECT_TRUE(server_.WaitForConnections(1))
        << "the server waits for a window that its client has spoilt";
    done = true;
    writer.join();
    way->ShutDown();  // frees a server that fails this test
  }
}

TEST_F(WindowState, LengthsInEachPhase) {
  for (const uint32_t length : {0u, 1u, 3u, (2u << 20) - 15, 0x7fffffffu, UINT32_MAX}) {
    {
      const std::unique_ptr<Client> client = server_.Connect();
      const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(Must(client->RequestChannel())));
      way->data_len() = length;
      EXPECT_EQ(ErrorOf(way->PassTurn()), ESHUTDOWN) << "handshake of " << length;
    }
    Session session(server_, Via::kChannel);
    ChannelWay& way = session.client().channel_way(0);
    way.data_len() = length;
    EXPECT_EQ(ErrorOf(way.PassTurn()), ESHUTDOWN) << "request of " << length;
  }
}

TEST_F(WindowState, MemoryCannotBeResized) {
  const std::unique_ptr<Client> client = server_.Connect();
  const ChannelGrant grant = Must(client->RequestChannel());
  for (const off_t size : {0, 1, 4096, 4 << 20}) {
    EXPECT_EQ(ftruncate(grant.memory.get(), size), -1);
    EXPECT_EQ(errno, EPERM);
  }
}

double ProcessCpuSeconds() {
  struct timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

TEST_F(WindowState, IdleAndBrokenChannelsDoNotSpin) {
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 4; ++i) sessions.push_back(std::make_unique<Session>(server_, Via::kChannel));
  Poke(sessions[0]->client().channel_way(0), 9);
  absl::SleepFor(absl::Milliseconds(100));
  const double before = ProcessCpuSeconds();
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_LT(ProcessCpuSeconds() - before, 0.1);
}

}  // namespace
}  // namespace lisafs
