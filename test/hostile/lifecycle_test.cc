// Signals at any moment, and parents that die at any moment: requests go on or the gofer ends, and
// nothing of it is left behind. Attacks.
//
// Source: spec/security.md s.1, s.4 and s.10.

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "test/hostile/hostile_process.h"
#include "test/support/eventually.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"

namespace gofer::testing {
namespace {

constexpr uint32_t kNobody = 65534;

class LifecycleTest : public HostileProcessTest {
 protected:
  // Starts one with a socket and a pipe of ours, kills the process that was started after `delay`,
  // and waits until nobody has their other ends.
  static void ExpectNothingLeft(std::vector<std::string> flags, std::optional<uint32_t> user,
                                absl::Duration delay, const TempTree& tree) {
    SocketPair sockets = StreamPair();
    Pipe ready = MakePipe();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", tree.path()),
                                          "--lisafs_fd=7", "--ready_fd=9"};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    {
      const GoferProcess gofer(
          GoferStart{.name = "gofer",
                     .arguments = std::move(arguments),
                     .fds = {{7, sockets.theirs.get()}, {9, ready.write.get()}},
                     .user = user});
      sockets.theirs.Reset();
      ready.write.Reset();
      absl::SleepFor(delay);
      gofer.Signal(SIGKILL);
    }
    struct pollfd end = {.fd = sockets.ours.get(), .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&end, 1, absl::ToInt64Milliseconds(kPatience)), 1)
        << "a process is left, after " << delay;
    EXPECT_FALSE(absl::StrContains(ReadPipe(ready.read), "(nothing yet)"));
  }
};

// Whatever interrupts a system call, its request does not notice.
TEST_F(LifecycleTest, AStormOfSignals) {
  Start({"--donate_fds=never"});
  std::atomic<bool> done{false};
  std::atomic<int> requests{0};
  std::thread client([&] {
    const lisafs::FdId root = honest_->root.control_fd;
    std::vector<std::byte> data(65536);
    while (!done) {
      const auto made = honest_->client.OpenCreateAt(root, "f", 0600, {}, O_RDWR);
      ASSERT_TRUE(made.ok()) << made.error().ToString();
      ASSERT_EQ(Must(honest_->client.PWrite(made->fd, data, 0)), data.size());
      ASSERT_EQ(Must(honest_->client.PRead(made->fd, data, 0)), data.size());
      Must(honest_->client.UnlinkAt(root, "f", 0));
      Must(honest_->client.Close({made->fd, made->child.control_fd}));
      ++requests;
    }
  });
  // Long enough for some requests, however slowly they go meanwhile.
  const absl::Time deadline = absl::Now() + kPatience;
  for (int i = 0; i < 400 || (requests < 3 && absl::Now() < deadline); ++i) {
    for (const int signal : {SIGPIPE, SIGXFSZ, SIGCHLD, SIGURG, SIGWINCH, SIGCONT}) {
      gofer_->Signal(signal);
    }
    if (i % 20 == 0) {
      gofer_->Signal(SIGSTOP);
      gofer_->Signal(SIGCONT);
    }
    absl::SleepFor(absl::Microseconds(200));
  }
  done = true;
  client.join();
  EXPECT_GE(requests, 3);
}

TEST_F(LifecycleTest, AStormOfTheSignalsThatEndIt) {
  Start();
  const Stopwatch watch;
  for (int i = 0; i < 100 && gofer_->Running(); ++i) {
    gofer_->Signal(i % 2 == 0 ? SIGTERM : SIGINT);
  }
  EXPECT_EQ(gofer_->Wait(), 0) << gofer_->Stderr();
  EXPECT_LT(watch.Elapsed(), absl::Seconds(5));
  honest_.reset();
  Forget();
}

// A write past what a file may be: SIGXFSZ ends no gofer.
TEST_F(LifecycleTest, ALimitOnTheSizeOfFiles) {
  Start({"--donate_fds=never"});
  const struct rlimit small = {.rlim_cur = 4096, .rlim_max = 4096};
  ASSERT_EQ(prlimit(gofer_->pid(), RLIMIT_FSIZE, &small, nullptr), 0);
  const auto made =
      Must(honest_->client.OpenCreateAt(honest_->root.control_fd, "f", 0600, {}, O_RDWR));
  const std::vector<std::byte> data(5000);
  EXPECT_EQ(Must(honest_->client.PWrite(made.fd, data, 0)), 4096u);
  EXPECT_EQ(ErrorOf(honest_->client.PWrite(made.fd, data, 4096)), EFBIG);
  Must(honest_->client.Close({made.fd, made.child.control_fd}));
}

TEST_F(LifecycleTest, TheProcessThatWaitsDiesAtAnyMoment) {
  for (int step = 0; step < 12; ++step) {
    ExpectNothingLeft({"--pid_namespace"}, std::nullopt, absl::Milliseconds(step * 4), tree_);
  }
}

TEST_F(LifecycleTest, TheOneWithoutRootDiesAtAnyMoment) {
  for (int step = 0; step < 12; ++step) {
    ExpectNothingLeft({}, kNobody, absl::Milliseconds(step * 4), tree_);
    ExpectNothingLeft({"--pid_namespace"}, kNobody, absl::Milliseconds(step * 4), tree_);
  }
}

}  // namespace
}  // namespace gofer::testing
