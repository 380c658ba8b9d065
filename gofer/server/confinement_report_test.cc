// The report of a process that has gone through the real start, held against /proc as its parent
// sees it.

#include "gofer/server/confinement_report.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "glog/logging.h"
#include "gofer/server/confinement_view.h"
#include "gofer/server/user_namespace.h"
#include "gofer/sys/process.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::server {
namespace {

constexpr uint32_t kNobody = 65534;

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

// A process that confines itself, reports, starts a thread, and waits to be killed.
class ConfinedProcess {
 public:
  ConfinedProcess(const std::string& root, SandboxMode mode, bool as_root) {
    testing::Pipe pipe = testing::MakePipe();
    pid_ = fork();
    PCHECK(pid_ >= 0);
    if (pid_ == 0) Run(root, mode, as_root, std::move(pipe.write));
    pipe.write.Reset();
    const std::string bytes = testing::ReadPipe(pipe.read);
    CHECK(!bytes.empty() && report_.ParseFromString(bytes)) << "it did not come that far";
  }
  ~ConfinedProcess() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }

  int pid() const { return pid_; }
  control::Confinement& report() { return report_; }
  std::string Proc(absl::string_view name) const {
    return Slurp(absl::StrCat("/proc/", pid_, "/", name));
  }

 private:
  [[noreturn]] static void Run(const std::string& root, SandboxMode mode, bool as_root,
                               UniqueFd report_to) {
    const int kept[] = {report_to.get()};
    if (!as_root) {
      CHECK(sys::DropSupplementaryGroups().ok());
      CHECK(sys::SetIds(kNobody, kNobody).ok());
      CHECK_EQ(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
      const auto plan = UserNamespace::Prepare({}, {});
      CHECK(plan.ok() && plan->Enter().ok());
    }
    CHECK(ResetInheritedWorld(kept).ok());
    const Confinement confinement = {.capabilities = {}, .seccomp = {}};
    auto preparation = PrepareConfinement(confinement);
    CHECK(preparation.ok()) << preparation.status();
    const auto tree = EnterSandbox({.mode = mode, .root = root});
    CHECK(tree.ok()) << tree.status();
    auto confined = Confine(confinement, *std::move(preparation), tree->root);
    CHECK(confined.ok()) << confined.status();
    const ConfinementReport report(mode == SandboxMode::kChroot ? "chroot" : "namespace",
                                   confinement.seccomp, *std::move(confined));
    std::thread other([] { WaitForever(); });
    const auto now = report.Now();
    CHECK(now.ok()) << now.status();
    CHECK(sys::WriteAll(report_to, now->SerializeAsString()).ok());
    report_to.Reset();
    WaitForever();
  }
  [[noreturn]] static void WaitForever() {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }

  pid_t pid_;
  control::Confinement report_;
};

class ConfinementReportTest : public ::testing::Test {
 protected:
  ConfinementReportTest() { CHECK_EQ(chmod(tree_.path().c_str(), 0755), 0); }
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  static std::string StatusLine(const std::string& status, const std::string& name) {
    for (absl::string_view line : absl::StrSplit(status, '\n')) {
      if (!absl::ConsumePrefix(&line, name) || !absl::ConsumePrefix(&line, ":\t")) continue;
      const std::vector<std::string> words =
          absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
      std::string joined;
      for (const std::string& word : words) joined += (joined.empty() ? "" : " ") + word;
      return joined;
    }
    return "(none)";
  }

  void ExpectTrue(ConfinedProcess& process) {
    control::Confinement& report = process.report();
    EXPECT_EQ(report.pid(), process.pid());
    ASSERT_EQ(report.namespaces_size(), 7);
    for (const control::Namespace& one : report.namespaces()) {
      struct stat link;
      const std::string path = absl::StrCat("/proc/", process.pid(), "/ns/", one.kind());
      ASSERT_EQ(stat(path.c_str(), &link), 0);
      EXPECT_EQ(one.id(), link.st_ino) << one.kind();
    }
    EXPECT_EQ(report.uid_map(), process.Proc("uid_map"));
    EXPECT_EQ(report.gid_map(), process.Proc("gid_map"));
    std::string mounts;
    for (const std::string& mount : report.mounts()) mounts += mount + "\n";
    EXPECT_EQ(mounts, process.Proc("mountinfo"));
    const std::string limits = process.Proc("limits");
    EXPECT_EQ(report.limits_size(), 16);
    for (const control::Limit& limit : report.limits()) {
      EXPECT_TRUE(absl::StrContains(
          limits, absl::StrFormat("%-26s%-21s%-21s", limit.name(), limit.soft(), limit.hard())))
          << limit.name() << "\n"
          << limits;
    }
    ExpectThreads(process);
  }

  void ExpectThreads(ConfinedProcess& process) {
    control::Confinement& report = process.report();
    ASSERT_EQ(report.threads_size(), 1) << "all that it sees of itself";
    const int serving = ServingProcess(process.pid(), report);
    EXPECT_EQ(serving, process.pid());
    AddThreadsOf(serving, report);
    ASSERT_EQ(report.threads_size(), 2);
    for (const control::ThreadRecord& thread : report.threads()) {
      const std::string status = process.Proc(absl::StrCat("task/", thread.tid(), "/status"));
      EXPECT_EQ(thread.uid(), StatusLine(status, "Uid"));
      EXPECT_EQ(thread.groups(), StatusLine(status, "Groups"));
      EXPECT_EQ(thread.effective(), StatusLine(status, "CapEff"));
      EXPECT_EQ(thread.permitted(), StatusLine(status, "CapPrm"));
      EXPECT_EQ(thread.bounding(), StatusLine(status, "CapBnd"));
      EXPECT_EQ(thread.ambient(), "0000000000000000");
      EXPECT_EQ(thread.inheritable(), "0000000000000000");
      EXPECT_EQ(thread.no_new_privileges(), "1");
      EXPECT_EQ(thread.seccomp(), "2");
      ASSERT_EQ(thread.namespaces_size(), 7);
      EXPECT_EQ(thread.namespaces(0).id(), report.namespaces(0).id());
    }
  }

  const testing::TempTree tree_;
};

TEST_F(ConfinementReportTest, AsRoot) {
  ConfinedProcess process(tree_.path(), SandboxMode::kNamespace, /*as_root=*/true);
  ExpectTrue(process);
  EXPECT_EQ(process.report().capabilities_size(), 4);
  EXPECT_EQ(process.report().capabilities(0).name(), "CHOWN");
  EXPECT_EQ(process.report().threads(0).groups(), "");
  EXPECT_EQ(process.report().mounts_size(), 1) << "the served tree alone";
}

TEST_F(ConfinementReportTest, InAUserNamespace) {
  ConfinedProcess process(tree_.path(), SandboxMode::kNamespace, /*as_root=*/false);
  ExpectTrue(process);
  EXPECT_TRUE(absl::StrContains(process.report().uid_map(), "65534"));
}

TEST_F(ConfinementReportTest, InAChroot) {
  ConfinedProcess process(tree_.path(), SandboxMode::kChroot, /*as_root=*/true);
  ExpectTrue(process);
}

TEST_F(ConfinementReportTest, TextAndJsonSayIt) {
  ConfinedProcess process(tree_.path(), SandboxMode::kNamespace, /*as_root=*/true);
  AddThreadsOf(process.pid(), process.report());
  const std::string text = ConfinementAsText(process.report());
  EXPECT_TRUE(absl::StrContains(text, "  CHOWN              new files get the client's owner\n"));
  EXPECT_TRUE(
      absl::StrContains(text, "  openat2            look up one name (arg0 is a descriptor)\n"))
      << text;
  EXPECT_TRUE(absl::StrContains(text, "  clone3             ENOSYS: its flags"));
  EXPECT_TRUE(absl::StrContains(text, "no_new_privs 1, seccomp 2\n"));
  EXPECT_FALSE(absl::StrContains(text, "ANOTHER"));
  const std::string json = ConfinementAsJson(process.report());
  const std::string mode(SeccompModeName(kDefaultSeccompMode));
  EXPECT_TRUE(absl::StrContains(json, "\"seccomp\":{\"mode\":\"" + mode + "\",")) << json;
  EXPECT_TRUE(absl::StrContains(json, "\"no_new_privileges\":\"1\""));
}

TEST(ConfinementView, AThreadThatIsElsewhereIsShown) {
  control::Confinement confinement;
  control::Namespace& own = *confinement.add_namespaces();
  own.set_kind("mnt");
  own.set_id(1);
  control::Namespace& other = *confinement.add_threads()->add_namespaces();
  other.set_kind("mnt");
  other.set_id(2);
  EXPECT_TRUE(absl::StrContains(ConfinementAsText(confinement), "ANOTHER mnt namespace: 2\n"));
}

TEST(ConfinementView, AProcessThatIsNotThere) {
  control::Confinement confinement;
  confinement.set_pid(1);
  EXPECT_EQ(ServingProcess(0, confinement), 0);
  confinement.add_threads()->set_name("known");
  AddThreadsOf(0, confinement);
  EXPECT_EQ(confinement.threads_size(), 1) << "what it knows itself stays";
}

}  // namespace
}  // namespace gofer::server
