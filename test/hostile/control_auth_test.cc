// Who may command a gofer: the user that started it, and root. Not another user, in whatever
// namespace the gofer is and whatever mode the socket has got; and a path that somebody has put
// something on is not taken away from them, nor followed. Attacks.
//
// Source: spec/security.md s.1 step 4 and s.10.

#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

constexpr uint32_t kOwner = 12345;
constexpr uint32_t kStranger = 23456;
// What everybody seems to be in a user namespace that has no number for them.
constexpr uint32_t kNobody = 65534;

class ControlAuthTest : public ::testing::Test {
 protected:
  ControlAuthTest() {
    tree_.Write("file", "content");
    PCHECK(chmod(run_.path().c_str(), 0777) == 0);
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to be several users";
  }

  // False if it does not start, with its words in failure_.
  bool Start(std::optional<uint32_t> user) {
    SocketPair sockets = StreamPair();
    Pipe ready = MakePipe();
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.name = "gofer",
                   .arguments = {"serve", absl::StrCat("--root=", tree_.path()), "--lisafs_fd=7",
                                 "--ready_fd=9", ControlFlag()},
                   .fds = {{7, sockets.theirs.get()}, {9, ready.write.get()}},
                   .user = user});
    sockets.theirs.Reset();
    ready.write.Reset();
    client_ = std::move(sockets.ours);
    if (ReadPipe(ready.read) == "\n") return true;
    gofer_->Wait();
    failure_ = gofer_->Stderr();
    return false;
  }
  std::string ControlFlag() const { return absl::StrCat("--control_socket=", run_.At("control")); }

  // Exit status and words of `gofer COMMAND` as somebody.
  int Command(const std::string& command, std::optional<uint32_t> user, std::string* words) {
    GoferProcess process(
        GoferStart{.name = "gofer", .arguments = {command, ControlFlag()}, .user = user});
    const int status = process.Wait();
    *words = process.Stderr();
    return status;
  }
  void ExpectStrangersRefused() {
    std::string words;
    for (const char* const command : {"status", "confinement", "purge", "stop"}) {
      EXPECT_EQ(Command(command, kStranger, &words), 1) << command;
      EXPECT_TRUE(absl::StrContains(words, "Permission denied")) << words;
    }
    // Somebody on the host has opened the socket to all: who may command stays the same.
    ASSERT_EQ(chmod(run_.At("control").c_str(), 0777), 0);
    for (const char* const command : {"status", "confinement", "purge", "stop"}) {
      EXPECT_EQ(Command(command, kStranger, &words), 1) << command;
      EXPECT_TRUE(absl::StrContains(words, "may command")) << words;
    }
    EXPECT_TRUE(gofer_->Running());
  }

  // Whether there is such a process that has not ended: whose it is then may not care for it.
  static bool IsRunning(int process) {
    std::ifstream stat(absl::StrCat("/proc/", process, "/stat"));
    std::string number, name, state;
    return (stat >> number >> name >> state) && state != "Z";
  }
  // The process that the gofer has outside.
  int Judge() const {
    std::ifstream children(
        absl::StrCat("/proc/", gofer_->pid(), "/task/", gofer_->pid(), "/children"));
    int judge = 0;
    CHECK(children >> judge) << "the gofer has no child";
    return judge;
  }

  const TempTree tree_;
  const TempTree run_;
  UniqueFd client_;
  std::unique_ptr<GoferProcess> gofer_;
  std::string failure_;
};

TEST_F(ControlAuthTest, OfRoot) {
  ASSERT_TRUE(Start(std::nullopt)) << failure_;
  EXPECT_EQ(run_.Stat("control").st_mode & 07777, 0600u);
  ExpectStrangersRefused();
  std::string words;
  EXPECT_EQ(Command("status", std::nullopt, &words), 0) << words;
}

// In a user namespace, where neither another user nor root has a number of its own.
TEST_F(ControlAuthTest, OfSomebodyInANamespaceOfItsOwn) {
  for (const uint32_t owner : {kOwner, kNobody}) {
    ASSERT_TRUE(Start(owner)) << failure_;
    EXPECT_EQ(run_.Stat("control").st_mode & 07777, 0600u);
    ExpectStrangersRefused();
    std::string words;
    EXPECT_EQ(Command("status", owner, &words), 0) << words;
    EXPECT_EQ(Command("stop", std::nullopt, &words), 0) << "root: " << words;
    EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  }
}

// A peer that cannot be judged may not command: whoever could is gone.
TEST_F(ControlAuthTest, WithoutItsJudge) {
  ASSERT_TRUE(Start(kOwner)) << failure_;
  ASSERT_EQ(kill(Judge(), SIGKILL), 0);
  std::string words;
  EXPECT_EQ(Command("status", kOwner, &words), 1);
  EXPECT_TRUE(absl::StrContains(words, "may command")) << words;
  EXPECT_TRUE(gofer_->Running());
}

// It ends with the gofer, however that ends, and can do nothing meanwhile.
TEST_F(ControlAuthTest, TheJudgeEndsWithTheGofer) {
  ASSERT_TRUE(Start(kOwner)) << failure_;
  const int judge = Judge();
  std::ifstream status(absl::StrCat("/proc/", judge, "/status"));
  const std::string record{std::istreambuf_iterator<char>(status), {}};
  EXPECT_TRUE(absl::StrContains(record, "CapPrm:\t0000000000000000")) << record;
  EXPECT_TRUE(absl::StrContains(record, "NoNewPrivs:\t1")) << record;
  gofer_->Signal(SIGKILL);
  EXPECT_EQ(gofer_->Wait(), -SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !IsRunning(judge); }));
}

// What stands on the socket's path: left as it is, and no gofer starts.
TEST_F(ControlAuthTest, PlantedPaths) {
  run_.Write("target", "theirs");
  const std::string path = run_.At("control");
  const auto expect_no_start = [&](const char* what) {
    const auto before = run_.StrictSnapshot();
    EXPECT_FALSE(Start(std::nullopt)) << what;
    EXPECT_EQ(run_.StrictSnapshot(), before) << what;
    EXPECT_TRUE(absl::StrContains(failure_, path)) << failure_;
  };
  run_.Symlink("control", run_.At("target"));
  expect_no_start("a link to a file");
  run_.Unlink("control");
  run_.Symlink("control", run_.At("nothing"));
  expect_no_start("a link to nothing");
  EXPECT_FALSE(run_.Exists("nothing"));
  run_.Unlink("control");
  run_.Write("control", "theirs");
  expect_no_start("a file");
  run_.Unlink("control");
  run_.Fifo("control");
  expect_no_start("a FIFO, which nobody may wait for");
  run_.Unlink("control");
  run_.Mkdir("control");
  expect_no_start("a directory");
  run_.Rmdir("control");
  {
    const UniqueFd live(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(bind(live.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address)), 0);
    ASSERT_EQ(listen(live.get(), 1), 0);
    expect_no_start("a socket that somebody listens on");
  }
  EXPECT_TRUE(Start(std::nullopt)) << "one that nobody listens on is left over: " << failure_;
}

}  // namespace
}  // namespace gofer::testing
