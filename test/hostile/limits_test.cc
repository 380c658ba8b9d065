// Clients that take all they can get: each limit is reached, answers as documented, and holds nobody
// else up; when they have gone, everything is given back. Attacks.
//
// Source: spec/security.md s.5; SECURITY.md, "Limits".

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/hostile/hostile_process.h"

namespace gofer::testing {
namespace {

using lisafs::Inode;

class LimitsTest : public HostileProcessTest {};

TEST_F(LimitsTest, OpenFiles) {
  Start({"--rlimit_nofile=2048", "--donate_fds=never"});
  const int64_t limit = StatusNumber("file_descriptors_limit");
  EXPECT_EQ(limit, 1024);
  const std::unique_ptr<Client> hostile = Connect();
  const ErrnoOr<Inode> file = Walk(*hostile, "file");
  ASSERT_TRUE(file.ok());
  int opened = 0;
  auto open = hostile->client.OpenAt(file->control_fd, O_RDONLY);
  for (; open.ok() && opened < 3000; ++opened) {
    open = hostile->client.OpenAt(file->control_fd, O_RDONLY);
    if (opened % 100 == 0) ExpectHonestServed();
  }
  ASSERT_FALSE(open.ok());
  EXPECT_EQ(open.error(), Errno(ENFILE));
  EXPECT_LE(opened, limit);
  EXPECT_GE(opened, limit * 9 / 10);
  EXPECT_LE(StatusNumber("file_descriptors"), limit);
  EXPECT_LT(gofer_->OpenFds().size(), 2048u) << "some are left for sockets and windows";
  EXPECT_NE(Connect(), nullptr) << "a new client still gets in";
}

TEST_F(LimitsTest, KnownFiles) {
  Start({"--max_nodes=500"});
  for (int i = 0; i < 600; ++i) tree_.Write(absl::StrCat("f", i), "");
  const std::unique_ptr<Client> hostile = Connect();
  int known = 0;
  ErrnoOr<Inode> walked = Walk(*hostile, "f0");
  while (walked.ok() && known < 600) {
    walked = Walk(*hostile, absl::StrCat("f", ++known));
    if (known % 100 == 0) ExpectHonestServed();
  }
  ASSERT_FALSE(walked.ok());
  EXPECT_EQ(walked.error(), Errno(ENFILE));
  EXPECT_LE(known, 500);
  EXPECT_GE(known, 450);
  const auto made = hostile->client.OpenCreateAt(hostile->root.control_fd, "new", 0600, {}, O_RDWR);
  EXPECT_EQ(made.error(), Errno(ENFILE));
  EXPECT_FALSE(tree_.Exists("new")) << "a refused request leaves nothing behind";
}

TEST_F(LimitsTest, Channels) {
  Start({});
  const std::unique_ptr<Client> hostile = Connect();
  for (size_t i = 0; i < lisafs::kMaxChannels; ++i) {
    ASSERT_TRUE(hostile->client.OpenChannel().ok()) << i;
  }
  const auto one_more = hostile->client.OpenChannel();
  ASSERT_FALSE(one_more.ok());
  EXPECT_EQ(one_more.error(), Errno(ENOMEM));
  EXPECT_TRUE(hostile->client.FStat(hostile->root.control_fd).ok()) << "it goes on as before";
}

TEST_F(LimitsTest, Connections) {
  const struct rlimit enough = {.rlim_cur = 8192, .rlim_max = 8192};
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const struct rlimit wanted = {.rlim_cur = std::min(enough.rlim_cur, before.rlim_max),
                                .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &wanted), 0);
  Start({});
  std::vector<std::unique_ptr<Client>> clients;
  while (clients.size() <= 1100) {
    std::unique_ptr<Client> client = Connect();
    if (client == nullptr) break;
    clients.push_back(std::move(client));
    if (clients.size() % 200 == 0) ExpectHonestServed();
  }
  EXPECT_EQ(clients.size(), 1023u) << "with the honest one 1024";
  ExpectHonestServed();
  clients.pop_back();
  for (int i = 0; i < 1000 && clients.size() < 1023; ++i) {
    if (auto client = Connect(); client != nullptr) clients.push_back(std::move(client));
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_EQ(clients.size(), 1023u) << "one that goes makes room for another";
}

}  // namespace
}  // namespace gofer::testing
