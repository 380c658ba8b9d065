// Clients that work as hard as they can, each against others of one process: who asks little gets
// it soon. Attacks.
//
// The floods are held to one request in flight for each connection, as a flood in this process would
// take the processors from the one who measures. How it is measured is in latency.h.
//
// Source: spec/security.md s.4, s.5 and s.10.

#include <fcntl.h>

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "test/hostile/hostile_process.h"
#include "test/support/eventually.h"
#include "test/support/latency.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

constexpr absl::Duration kAllowed = absl::Milliseconds(10);
constexpr int kHostile = 3;

class IsolationTest : public HostileProcessTest {
 protected:
  // What one hostile client does all the time, in a loop.
  using Flood = std::function<void(Client&, int round)>;

  void ExpectQuickAnswersUnder(const Flood& flood) {
    std::atomic<bool> done{false};
    std::atomic<int> rounds[kHostile] = {};
    std::vector<std::thread> threads;
    for (int i = 0; i < kHostile; ++i) {
      threads.emplace_back([&, i] {
        const std::unique_ptr<Client> client = Connect();
        if (client == nullptr) return;
        for (int round = i; !done; round += kHostile) {
          flood(*client, round);
          ++rounds[i];
        }
      });
    }
    for (const std::atomic<int>& of_one : rounds) {
      EXPECT_TRUE(Eventually([&] { return of_one > 0; })) << "no flood";
    }
    Echo echo;
    const absl::Duration best = BestPercentile99(
        [&](int number) {
          if (number % 2 == 0) {
            EXPECT_TRUE(honest_->client.FStat(honest_->root.control_fd).ok());
            return;
          }
          lisafs::Statx stat;
          EXPECT_TRUE(
              honest_->client.WalkStat(honest_->root.control_fd, {"file"}, std::span(&stat, 1))
                  .ok());
        },
        [&](int) { echo.Exchange(); });
    done = true;
    for (std::thread& thread : threads) thread.join();
    EXPECT_LE(best, kAllowed);
  }
};

TEST_F(IsolationTest, FloodOfLookups) {
  Start();
  ExpectQuickAnswersUnder([](Client& client, int round) {
    (void)Walk(client, absl::StrCat("none", round)).ok();
    (void)client.client.FStat(client.root.control_fd).ok();
  });
}

TEST_F(IsolationTest, FloodOfNames) {
  Start();
  ExpectQuickAnswersUnder([](Client& client, int round) {
    const lisafs::FdId root = client.root.control_fd;
    const std::string name = absl::StrCat("f", round);
    const auto made = client.client.OpenCreateAt(root, name, 0600, {}, O_RDWR);
    if (!made.ok()) return;
    (void)client.client.RenameAt(root, name, root, absl::StrCat("g", round)).ok();
    (void)client.client.UnlinkAt(root, absl::StrCat("g", round), 0).ok();
    (void)client.client.Close({made->fd, made->child.control_fd}).ok();
  });
}

TEST_F(IsolationTest, FloodOfData) {
  Start({"--donate_fds=never"});
  for (int i = 0; i < 3; ++i) tree_.Write(absl::StrCat("data", i), "");
  ExpectQuickAnswersUnder([](Client& client, int round) {
    const ErrnoOr<lisafs::Inode> file = Walk(client, absl::StrCat("data", round % 3));
    if (!file.ok()) return;
    const auto open = client.client.OpenAt(file->control_fd, O_RDWR);
    std::vector<std::byte> buffer(1 << 20);
    if (open.ok()) {
      (void)client.client.PWrite(open->fd, buffer, 0).ok();
      (void)client.client.PRead(open->fd, buffer, 0).ok();
      (void)client.client.Close({open->fd}).ok();
    }
    (void)client.client.Close({file->control_fd}).ok();
  });
}

TEST_F(IsolationTest, FloodOfListings) {
  tree_.Mkdir("large");
  for (int i = 0; i < 3000; ++i) tree_.Write(absl::StrCat("large/f", i), "");
  Start();
  ExpectQuickAnswersUnder([](Client& client, int) {
    const ErrnoOr<lisafs::Inode> dir = Walk(client, "large");
    if (!dir.ok()) return;
    const auto open = client.client.OpenAt(dir->control_fd, O_RDONLY);
    if (open.ok()) {
      (void)client.client.Getdents64(open->fd, -(1 << 20)).ok();
      (void)client.client.Close({open->fd}).ok();
    }
    (void)client.client.Close({dir->control_fd}).ok();
  });
}

// Connections that come and go, and channels that are asked for without end.
TEST_F(IsolationTest, FloodOfConnections) {
  Start();
  ExpectQuickAnswersUnder([this](Client& client, int round) {
    if (round % 2 == 0) {
      (void)Connect();
    } else {
      (void)client.client.RequestChannel().ok();
    }
  });
}

}  // namespace
}  // namespace gofer::testing
