// Clients that take all they can get: each limit is reached, answers as documented, and holds nobody
// else up; when they have gone, everything is given back. Attacks.
//
// Source: spec/security.md s.5; SECURITY.md, "Limits".

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;
using lisafs::Inode;

class LimitsTest : public ::testing::Test {
 protected:
  LimitsTest() { tree_.Write("file", "content"); }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  void Start(std::vector<std::string> flags) {
    Pipe ready = MakePipe();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", tree_.path()),
                                          "--ready_fd=9",
                                          absl::StrCat("--lisafs_socket=", run_.At("lisafs")),
                                          absl::StrCat("--control_socket=", run_.At("control"))};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    gofer_ = std::make_unique<GoferProcess>(GoferStart{
        .name = "gofer", .arguments = std::move(arguments), .fds = {{9, ready.write.get()}}});
    ready.write.Reset();
    ASSERT_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
    honest_ = Connect();
    ASSERT_NE(honest_, nullptr);
    ExpectHonestServed();
    Settle();
    base_fds_ = gofer_->OpenFds().size();
    base_files_ = StatusNumber("file_descriptors");
  }
  void TearDown() override {
    if (gofer_ == nullptr) return;
    ExpectHonestServed();
    Settle();
    EXPECT_EQ(gofer_->OpenFds().size(), base_fds_);
    EXPECT_EQ(StatusNumber("file_descriptors"), base_files_);
    EXPECT_TRUE(gofer_->Running());
  }

  // Clients that have gone are cleared away when the next one comes: one comes and goes, names that
  // nobody refers to are dropped, and of threads there are the main one and the honest client's.
  void Settle() {
    const absl::Time deadline = absl::Now() + absl::Seconds(10);
    const auto wait = [&] {
      while (Threads() > 2 && absl::Now() < deadline) absl::SleepFor(absl::Milliseconds(2));
    };
    wait();
    EXPECT_NE(Connect(), nullptr);
    Command("purge");
    wait();
    EXPECT_EQ(Threads(), 2u);
  }

  struct Client {
    explicit Client(UniqueFd socket) : client(std::move(socket)) {}
    lisafs::Client client;
    Inode root = {};
  };
  // Null if it is refused.
  std::unique_ptr<Client> Connect() {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    run_.At("lisafs").copy(address.sun_path, sizeof(address.sun_path) - 1);
    if (connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)) != 0) {
      return nullptr;
    }
    auto made = std::make_unique<Client>(std::move(socket));
    const auto mount = made->client.Mount();
    if (!mount.ok()) return nullptr;
    made->root = mount->root;
    return made;
  }
  static ErrnoOr<Inode> Walk(Client& client, absl::string_view name) {
    Inode inode;
    const auto walked = client.client.Walk(client.root.control_fd, {name}, std::span(&inode, 1));
    if (!walked.ok()) return walked.error();
    if (walked->count != 1) return Errno(ENOENT);
    return inode;
  }
  void ExpectHonestServed() {
    const absl::Time before = absl::Now();
    EXPECT_TRUE(honest_->client.FStat(honest_->root.control_fd).ok());
    EXPECT_LT(absl::Now() - before, absl::Seconds(1));
  }

  size_t Threads() const {
    const std::filesystem::directory_iterator tasks(absl::StrCat("/proc/", gofer_->pid(), "/task"));
    return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
  }
  std::string Command(const std::string& command) const {
    GoferProcess process(GoferStart{
        .name = "gofer",
        .arguments = {command, absl::StrCat("--control_socket=", run_.At("control")), "--json"}});
    CHECK_EQ(process.Wait(), 0) << process.Stderr();
    return process.Stdout();
  }
  int64_t StatusNumber(absl::string_view name) const {
    const std::string json = Command("status");
    const std::string label = absl::StrCat("\"", name, "\":");
    const size_t at = json.find(label);
    CHECK(at != std::string::npos) << json;
    const size_t begin = at + label.size();
    int64_t number = -1;
    CHECK(absl::SimpleAtoi(json.substr(begin, json.find_first_of(",}", begin) - begin), &number));
    return number;
  }

  const TempTree tree_;
  const TempTree run_;
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<Client> honest_;
  size_t base_fds_ = 0;
  int64_t base_files_ = 0;
};

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
