// A start in which one system call fails ends the process before a client is served, whichever call
// that is. Attack.
//
// The kernel itself makes them fail, by a filter that the test puts on before it starts the binary
// that ships.
//
// Source: spec/security.md s.1 and s.10.

#include <errno.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

constexpr uint32_t kNobody = 65534;

struct Failure {
  const char* what;
  int number;
  std::optional<uint64_t> first = std::nullopt;   // argument 0, where it tells calls apart
  std::optional<uint64_t> second = std::nullopt;  // argument 1
};

const Failure kAsRoot[] = {
    {"closing inherited descriptors", SYS_close_range},
    {"namespaces", SYS_unshare},
    {"cloning trees", SYS_open_tree},
    {"propagation", SYS_mount},
    {"attaching the clone", SYS_move_mount},
    {"nosuid and nodev", SYS_mount_setattr},
    {"pivot_root", SYS_pivot_root},
    {"detaching the old root", SYS_umount2},
    {"the working directory", SYS_chdir},
    {"no core files", SYS_prlimit64, std::nullopt, RLIMIT_CORE},
    {"no locked memory", SYS_prlimit64, std::nullopt, RLIMIT_MEMLOCK},
    {"the bounding set", SYS_prctl, PR_CAPBSET_DROP},
    {"securebits", SYS_prctl, PR_SET_SECUREBITS},
    {"capabilities", SYS_capset},
    {"no_new_privs", SYS_prctl, PR_SET_NO_NEW_PRIVS},
    {"not dumpable", SYS_prctl, PR_SET_DUMPABLE},
    {"seccomp", SYS_seccomp},
};

class StartFailClosedTest : public ::testing::Test {
 protected:
  StartFailClosedTest() { tree_.Write("file", "content"); }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  static void MakeFail(const Failure& failure) {
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    CHECK(filter != nullptr);
    // The start shall fail by the call and not by a privilege that the filter takes.
    CHECK_EQ(seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0), 0);
    std::vector<struct scmp_arg_cmp> arguments;
    const auto equals = [&](unsigned argument, const std::optional<uint64_t>& value) {
      if (!value.has_value()) return;
      arguments.push_back({.arg = argument, .op = SCMP_CMP_EQ, .datum_a = *value, .datum_b = 0});
    };
    equals(0, failure.first);
    equals(1, failure.second);
    CHECK_EQ(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), failure.number,
                                    static_cast<unsigned>(arguments.size()), arguments.data()),
             0);
    CHECK_EQ(seccomp_load(filter), 0);
  }

  // How a gofer fares of which this call fails.
  void ExpectNoStart(const Failure& failure, std::optional<uint32_t> user) {
    const ChildEnd end = InChild([&] {
      SocketPair sockets = StreamPair();
      Pipe ready = MakePipe();
      MakeFail(failure);
      GoferProcess gofer(GoferStart{.name = "gofer",
                                    .arguments = {"serve", absl::StrCat("--root=", tree_.path()),
                                                  "--lisafs_fd=7", "--ready_fd=9"},
                                    .fds = {{7, sockets.theirs.get()}, {9, ready.write.get()}},
                                    .user = user});
      sockets.theirs.Reset();
      ready.write.Reset();
      EXPECT_EQ(ReadPipe(ready.read), "") << "it is not ready";
      EXPECT_EQ(gofer.Wait(), 1);
      EXPECT_TRUE(absl::StartsWith(gofer.Stderr(), "gofer: ")) << gofer.Stderr();
      lisafs::Client client(std::move(sockets.ours));
      EXPECT_FALSE(client.Mount().ok());
    });
    EXPECT_EQ(end.status, 0) << failure.what << ": " << end.stderr_text;
  }

  const TempTree tree_;
};

TEST_F(StartFailClosedTest, AsRoot) {
  for (const Failure& failure : kAsRoot) ExpectNoStart(failure, std::nullopt);
}

TEST_F(StartFailClosedTest, WithoutRoot) {
  ASSERT_EQ(chmod(tree_.path().c_str(), 0755), 0);
  for (const Failure& failure : kAsRoot) ExpectNoStart(failure, kNobody);
  ExpectNoStart({"the user namespace", SYS_unshare, CLONE_NEWUSER}, kNobody);
  ExpectNoStart({"the other namespaces", SYS_unshare,
                 CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWUTS},
                kNobody);
}

// The one step that is best effort: the kernel that has none is served without it, and says so.
TEST_F(StartFailClosedTest, ButNotWithoutLandlock) {
  const ChildEnd end = InChild([&] {
    SocketPair sockets = StreamPair();
    MakeFail({"Landlock", SYS_landlock_create_ruleset});
    GoferProcess gofer(
        GoferStart{.name = "gofer",
                   .arguments = {"serve", absl::StrCat("--root=", tree_.path()), "--lisafs_fd=7"},
                   .fds = {{7, sockets.theirs.get()}}});
    sockets.theirs.Reset();
    lisafs::Client client(std::move(sockets.ours));
    EXPECT_TRUE(client.Mount().ok());
    EXPECT_TRUE(
        absl::StrContains(gofer.Stderr(), "Landlock is not in force: the kernel has none: EPERM"))
        << gofer.Stderr();
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
}

// A kernel that has it and does not let it be used is another matter.
TEST_F(StartFailClosedTest, LandlockThatIsThereAndRefuses) {
  ExpectNoStart({"Landlock", SYS_landlock_restrict_self}, std::nullopt);
}

}  // namespace
}  // namespace gofer::testing
