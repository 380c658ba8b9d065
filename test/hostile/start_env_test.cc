// What a gofer inherits does it no harm: descriptors, no standard streams, a hostile environment,
// ignored and blocked signals, a mask. Attack A-124.
//
// Source: spec/security.md s.1 steps 1 and 2, s.10.

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

class StartEnvTest : public ::testing::Test {
 protected:
  StartEnvTest() { tree_.Write("file", "content"); }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  // A gofer with a client that has had an answer.
  struct Served {
    std::unique_ptr<GoferProcess> gofer;
    std::unique_ptr<lisafs::Client> client;
    lisafs::Inode root;
  };
  Served Serve(std::map<int, int> fds = {}, std::vector<std::string> environment = {}) {
    SocketPair sockets = StreamPair();
    fds[7] = sockets.theirs.get();
    Served served;
    served.gofer = std::make_unique<GoferProcess>(
        GoferStart{.name = "gofer",
                   .arguments = {"serve", absl::StrCat("--root=", tree_.path()), "--lisafs_fd=7"},
                   .fds = std::move(fds),
                   .environment = std::move(environment)});
    sockets.theirs.Reset();
    served.client = std::make_unique<lisafs::Client>(std::move(sockets.ours));
    const auto mount = served.client->Mount();
    EXPECT_TRUE(mount.ok()) << served.gofer->Stderr();
    if (mount.ok()) served.root = mount->root;
    return served;
  }

  const TempTree tree_;
};

TEST_F(StartEnvTest, FiftyInheritedDescriptorsAreClosed) {
  const UniqueFd etc(open("/etc", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  std::map<int, int> fds;
  for (int fd = 20; fd < 70; ++fd) fds[fd] = etc.get();
  const Served served = Serve(fds);
  struct stat leaked;
  ASSERT_EQ(fstat(etc.get(), &leaked), 0);
  for (const int fd : served.gofer->OpenFds()) {
    struct stat held;
    const std::string path = absl::StrCat("/proc/", served.gofer->pid(), "/fd/", fd);
    if (stat(path.c_str(), &held) != 0) continue;  // closed meanwhile
    EXPECT_FALSE(held.st_ino == leaked.st_ino && held.st_dev == leaked.st_dev) << fd;
  }
}

TEST_F(StartEnvTest, NothingOfAHostileEnvironmentCounts) {
  const Served served =
      Serve({}, {"GCONV_PATH=/tmp", "TZ=:/etc/passwd", "LOCPATH=/tmp", "GLOG_log_dir=/etc",
                 "GLOG_logtostderr=0", "TMPDIR=/etc", "MALLOC_ARENA_MAX=1000000", "PATH=/tmp"});
  EXPECT_TRUE(served.client->FStat(served.root.control_fd).ok());
  std::string environment(4096, '\0');
  const UniqueFd memory(
      open(absl::StrCat("/proc/", served.gofer->pid(), "/environ").c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(memory.valid());
  EXPECT_EQ(served.gofer->Stderr().find("/etc"), std::string::npos) << served.gofer->Stderr();
}

TEST_F(StartEnvTest, WithoutStandardStreams) {
  const ChildEnd end = InChild([&] {
    for (int fd = 0; fd <= 2; ++fd) close(fd);
    const Served served = Serve();
    EXPECT_TRUE(served.client->FStat(served.root.control_fd).ok());
    for (int fd = 0; fd <= 2; ++fd) {
      struct stat stream;
      EXPECT_EQ(stat(absl::StrCat("/proc/", served.gofer->pid(), "/fd/", fd).c_str(), &stream), 0)
          << fd << " is open, so that no other file gets its number";
    }
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

TEST_F(StartEnvTest, SignalsAndMaskOfTheParent) {
  const ChildEnd end = InChild([&] {
    umask(0777);
    for (const int number : {SIGTERM, SIGINT, SIGCHLD, SIGHUP}) signal(number, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    signal(SIGCHLD, SIG_DFL);  // the test waits for it
    const Served served = Serve();
    const auto made = served.client->MkdirAt(served.root.control_fd, "new", 0755, {});
    ASSERT_TRUE(made.ok());
    EXPECT_EQ(tree_.Stat("new").st_mode & 0777u, 0755u) << "the client's mode and not our mask";
    served.gofer->Signal(SIGTERM);
    EXPECT_EQ(served.gofer->Wait(), 0) << "it is told to end, and does";
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

}  // namespace
}  // namespace gofer::testing
