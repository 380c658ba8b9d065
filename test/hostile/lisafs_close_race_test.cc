// Close, use and rename of the same ids on several channels at once: each use works or says EBADF,
// and in the end nothing is left. Meant for tsan and asan as much as for the plain build. Attack
//

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class LisafsCloseRace : public HostileTest {};

TEST_F(LisafsCloseRace, EverybodyOnTheSameIds) {
  tree_.Mkdir("served/d");
  tree_.Write("served/d/f", "text");
  constexpr size_t kThreads = 4;
  constexpr int kRounds = 6000;
  const std::unique_ptr<Client> client = server_.Connect();
  const FdId root = Must(client->Mount()).root.control_fd;
  for (size_t i = 0; i < kThreads; ++i) Must(client->OpenChannel());
  std::atomic<uint64_t> newest{static_cast<uint64_t>(root)};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(t));
      const Calls calls = client->over_channel(t);
      std::byte buffer[16];
      Inode inodes[2];
      for (int i = 0; i < kRounds; ++i) {
        const FdId any{1 + random() % newest.load()};
        switch (random() % 8) {
          case 0:
          case 1: {
            const auto walk = calls.Walk(root, {"d", "f"}, inodes);
            if (walk.ok() && walk->count == 2) newest = static_cast<uint64_t>(inodes[1].control_fd);
            break;
          }
          case 2: {
            auto open = calls.OpenAt(any, 0);
            if (open.ok()) newest = static_cast<uint64_t>(open->fd);
            break;
          }
          case 3:
            if (any != root) Must(calls.Close({any}));
            break;
          case 4:
            calls.PRead(any, buffer, 0).ok();
            break;
          case 5:
            calls.FStat(any).ok();
            break;
          case 6:
            calls.RenameAt(root, i % 2 == 0 ? "d" : "e", root, i % 2 == 0 ? "e" : "d").ok();
            break;
          default:
            calls.Getdents64(any, -4096).ok();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ErrorOf(client->FStat(root)), 0);
}

}  // namespace
}  // namespace lisafs
