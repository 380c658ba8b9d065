// Many clients at once, mixed requests over several channels each, and renames that move
// directories under everybody's feet: every answer makes sense, and what each client alone owns is
// as it left it. Meant for tsan as much as for the plain build.

#include <fcntl.h>
#include <stdio.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr Owner kNobody = {.uid = kNoId, .gid = kNoId};
constexpr size_t kClients = 8;
constexpr int kRequests = 5000;

// One client's life: two channels, a thread on each, half of its requests on files of its own,
// whose content it knows, and half on what all share.
class StressClient {
 public:
  StressClient(TestServer& server, size_t number) : client_(server.Connect()), number_(number) {
    root_ = Must(client_->Mount()).root.control_fd;
    Must(client_->OpenChannel());
    Must(client_->OpenChannel());
    own_ = Must(client_->MkdirAt(root_, absl::StrCat("client", number), 0755, kNobody)).control_fd;
  }

  void Run() {
    std::thread other([this] { Work(1); });
    Work(0);
    other.join();
  }

 private:
  void Work(size_t half) {
    const Calls calls = client_->over_channel(half);
    std::mt19937 random(static_cast<uint32_t>(number_ * 2 + half));
    const std::string name = absl::StrCat("file", half);
    const CreateResult file = Must(calls.OpenCreateAt(own_, name, 0644, kNobody, O_RDWR));
    for (int i = 0; i < kRequests / 2; ++i) {
      if (random() % 2 == 0) {
        CheckOwn(calls, file.fd, random());
      } else {
        TouchShared(calls, random());
      }
    }
    Inode inode;
    const WalkResult walk = Must(calls.Walk(own_, {name}, std::span(&inode, 1)));
    EXPECT_EQ(walk.count, 1u);
    EXPECT_EQ(inode.stat.ino, file.child.stat.ino);
  }

  // Writes numbers and reads them back, as an echo.
  void CheckOwn(const Calls& calls, FdId file, uint32_t value) {
    uint32_t text[16];
    for (uint32_t& word : text) word = value++;
    const uint64_t offset = (value % 64) * sizeof(text);
    ASSERT_EQ(Must(calls.PWrite(file, std::as_bytes(std::span(text)), offset)), sizeof(text));
    uint32_t echo[16] = {};
    ASSERT_EQ(Must(calls.PRead(file, std::as_writable_bytes(std::span(echo)), offset)),
              sizeof(echo));
    EXPECT_TRUE(std::equal(std::begin(text), std::end(text), std::begin(echo)));
  }

  void TouchShared(const Calls& calls, uint32_t dice) {
    const std::string dir = absl::StrCat("shared", dice % 3);
    const std::string name = absl::StrCat("n", (dice >> 8) % 5);
    Inode inodes[2];
    const auto walk = calls.Walk(root_, {dir, name}, inodes);
    if (!walk.ok()) {
      // Another client's rename may have put a file where the directory was.
      EXPECT_EQ(ErrorOf(walk), ENOTDIR);
      return;
    }
    std::vector<FdId> walked;
    for (size_t i = 0; i < walk->count; ++i) walked.push_back(inodes[i].control_fd);
    if (walk->count > 0) {
      const FdId parent = inodes[0].control_fd;
      switch ((dice >> 16) % 8) {
        case 0: {
          const auto made = calls.OpenCreateAt(parent, name, 0644, kNobody, O_RDWR);
          if (made.ok()) walked.insert(walked.end(), {made->fd, made->child.control_fd});
          break;
        }
        case 1:
          calls.UnlinkAt(parent, name, 0).ok();
          break;
        case 2: {
          const auto made = calls.MkdirAt(parent, name, 0755, kNobody);
          if (made.ok()) walked.push_back(made->control_fd);
          break;
        }
        case 3:
          calls.UnlinkAt(parent, name, AT_REMOVEDIR).ok();
          break;
        case 4:  // the storm: whole directories change places
          calls
              .RenameAt2(root_, dir, root_, absl::StrCat("shared", (dice >> 20) % 3),
                         RENAME_EXCHANGE)
              .ok();
          break;
        case 5:
          calls.RenameAt(parent, name, root_, absl::StrCat("moved", dice % 4)).ok();
          break;
        case 6: {
          const auto open = calls.OpenAt(parent, 0);
          if (open.ok()) {
            walked.push_back(open->fd);
            calls.Getdents64(open->fd, -4096).ok();
          }
          break;
        }
        default:
          EXPECT_EQ(ErrorOf(calls.FStat(walked.back())), 0);
      }
    }
    Must(calls.Close(walked));
  }

  const std::unique_ptr<Client> client_;
  const size_t number_;
  FdId root_, own_;
};

TEST(Stress, EightClientsMixedRequestsAndARenameStorm) {
  const TempTree tree;
  for (int i = 0; i < 3; ++i) tree.Mkdir(absl::StrCat("shared", i));
  TestServer server(tree);
  {
    std::vector<std::unique_ptr<StressClient>> clients;
    for (size_t i = 0; i < kClients; ++i)
      clients.push_back(std::make_unique<StressClient>(server, i));
    std::vector<std::thread> threads;
    for (const auto& client : clients) threads.emplace_back([&client] { client->Run(); });
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_TRUE(server.WaitForConnections(0));
  server.filesystem().dentries().Purge();
  EXPECT_EQ(server.filesystem().dentries().size(), 1u);
}

TEST(Stress, WalkersSeeADirectoryInOnePlaceOrTheOther) {
  const TempTree tree;
  tree.Mkdir("a");
  tree.Mkdir("b");
  tree.Mkdir("a/moving");
  tree.Write("a/moving/f", "text");
  TestServer server(tree);
  const std::unique_ptr<Client> client = server.Connect();
  const FdId root = Must(client->Mount()).root.control_fd;
  for (int i = 0; i < 3; ++i) Must(client->OpenChannel());
  Inode dirs[1];
  Must(client->Walk(root, {"a"}, dirs));
  const FdId a = dirs[0].control_fd;
  Must(client->Walk(root, {"b"}, dirs));
  const FdId b = dirs[0].control_fd;
  std::atomic<bool> done{false};
  std::vector<std::thread> walkers;
  for (size_t t = 0; t < 2; ++t) {
    walkers.emplace_back([&, t] {
      const Calls calls = client->over_channel(t);
      while (!done) {
        Inode inodes[2];
        Statx stat[2];
        for (const FdId dir : {a, b}) {
          const WalkResult walk = Must(calls.Walk(dir, {"moving", "f"}, inodes));
          EXPECT_TRUE(walk.count == 0 || walk.count == 2) << "half of a moved tree";
          std::vector<FdId> walked;
          for (size_t i = 0; i < walk.count; ++i) walked.push_back(inodes[i].control_fd);
          Must(calls.Close(walked));
          const size_t count = Must(calls.WalkStat(dir, {"moving", "f"}, stat));
          EXPECT_TRUE(count == 0 || count == 2);
        }
      }
    });
  }
  for (int i = 0; i < 3000; ++i) {
    const bool back = i % 2 != 0;
    EXPECT_EQ(
        ErrorOf(client->over_channel(2).RenameAt(back ? b : a, "moving", back ? a : b, "moving")),
        0);
  }
  done = true;
  for (std::thread& walker : walkers) walker.join();
}

}  // namespace
}  // namespace lisafs
