// What is in force in a serving process, thread by thread, and that `gofer confinement` tells the
// truth about it. Attacks.
//
// Source: spec/security.md s.1 and s.10.

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "glog/logging.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

constexpr uint32_t kNobody = 65534;

std::string Slurp(const std::string& path) {
  std::ifstream file(path);
  std::stringstream content;
  content << file.rdbuf();
  return content.str();
}

class ConfineStateTest : public ::testing::Test {
 protected:
  ConfineStateTest() {
    tree_.Write("file", "content");
    CHECK_EQ(chmod(tree_.path().c_str(), 0755), 0);
    CHECK_EQ(chmod(run_.path().c_str(), 0777), 0);
  }
  void SetUp() override {
    if (!IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
  }

  void Start(std::vector<std::string> flags, bool as_root = true) {
    SocketPair sockets = StreamPair();
    std::vector<std::string> arguments = {"serve", absl::StrCat("--root=", tree_.path()),
                                          "--lisafs_fd=7",
                                          absl::StrCat("--control_socket=", run_.At("control"))};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    gofer_ = std::make_unique<GoferProcess>(
        GoferStart{.name = "gofer",
                   .arguments = std::move(arguments),
                   .fds = {{7, sockets.theirs.get()}},
                   .user = as_root ? std::nullopt : std::optional<uint32_t>(kNobody)});
    sockets.theirs.Reset();
    client_ = std::make_unique<lisafs::Client>(std::move(sockets.ours));
    ASSERT_TRUE(client_->Mount().ok()) << gofer_->Stderr();
    ASSERT_TRUE(client_->OpenChannel().ok()) << "a thread that began after the confinement";
  }

  // What the command prints, asked by the gofer's own user.
  std::string Ask(std::vector<std::string> flags = {}) {
    std::vector<std::string> arguments = {"confinement",
                                          absl::StrCat("--control_socket=", run_.At("control"))};
    arguments.insert(arguments.end(), flags.begin(), flags.end());
    GoferProcess command(GoferStart{.name = "gofer", .arguments = std::move(arguments)});
    EXPECT_EQ(command.Wait(), 0) << command.Stderr();
    return command.Stdout();
  }

  std::string Proc(pid_t pid, absl::string_view name) const {
    return Slurp(absl::StrCat("/proc/", pid, "/", name));
  }
  static std::string Field(const std::string& status, absl::string_view name) {
    for (absl::string_view line : absl::StrSplit(status, '\n')) {
      if (!absl::ConsumePrefix(&line, name) || !absl::ConsumePrefix(&line, ":")) continue;
      return absl::StrReplaceAll(absl::StripAsciiWhitespace(line), {{"\t", " "}});
    }
    return "(none)";
  }

  // The answer against /proc, for the process that serves.
  void ExpectTheTruth(pid_t serving) {
    const std::string json = Ask({"--json"});
    const auto said = [&](absl::string_view text) {
      EXPECT_TRUE(absl::StrContains(json, text)) << text << "\n" << json;
    };
    for (const char* const kind : {"user", "mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
      struct stat link;
      ASSERT_EQ(stat(absl::StrCat("/proc/", serving, "/ns/", kind).c_str(), &link), 0);
      said(absl::StrCat("\"", kind, "\":", link.st_ino));
    }
    size_t threads = 0;
    for (const auto& task :
         std::filesystem::directory_iterator(absl::StrCat("/proc/", serving, "/task"))) {
      const std::string status = Slurp(task.path() / "status");
      if (status.empty()) continue;  // it has served the command, and is gone
      ++threads;
      said(absl::StrCat("{\"tid\":", task.path().filename().string(), ",\"name\":\"",
                        Field(status, "Name"), "\",\"uid\":\"", Field(status, "Uid"),
                        "\",\"gid\":\"", Field(status, "Gid"), "\",\"groups\":\"",
                        Field(status, "Groups"), "\",\"effective\":\"", Field(status, "CapEff"),
                        "\",\"permitted\":\"", Field(status, "CapPrm"), "\",\"inheritable\":\"",
                        Field(status, "CapInh"), "\",\"bounding\":\"", Field(status, "CapBnd"),
                        "\",\"ambient\":\"", Field(status, "CapAmb"),
                        "\",\"no_new_privileges\":\"1\",\"seccomp\":\"2\",\"namespaces\":{"));
    }
    EXPECT_GE(threads, 3u) << "the main one, the socket's and the channel's";
    for (const absl::string_view mount :
         absl::StrSplit(Proc(serving, "mountinfo"), '\n', absl::SkipEmpty())) {
      said(absl::StrCat("\"", mount, "\""));
    }
    ExpectLimits(serving, json);
  }

  // Soft and hard, as /proc has them: a process of another user namespace has no prlimit(2) for us.
  std::pair<std::string, std::string> Limit(pid_t pid, absl::string_view name) const {
    for (absl::string_view line : absl::StrSplit(Proc(pid, "limits"), '\n')) {
      if (!absl::ConsumePrefix(&line, name)) continue;
      std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      return {words[0], words[1]};
    }
    return {};
  }

  void ExpectLimits(pid_t serving, const std::string& json) {
    for (const char* const name :
         {"Max open files", "Max core file size", "Max locked memory", "Max processes"}) {
      const auto [soft, hard] = Limit(serving, name);
      const std::string said =
          absl::StrCat("{\"name\":\"", name, "\",\"soft\":\"", soft, "\",\"hard\":\"", hard, "\"}");
      EXPECT_TRUE(absl::StrContains(json, said)) << said << "\n" << json;
    }
    EXPECT_EQ(Limit(serving, "Max locked memory").second, "0");
  }

  void ExpectEveryThreadConfined(absl::string_view capabilities) {
    EXPECT_EQ(gofer_->Status("CapEff"), capabilities);
    EXPECT_EQ(gofer_->Status("CapPrm"), capabilities);
    EXPECT_EQ(gofer_->Status("CapInh"), "0000000000000000");
    EXPECT_EQ(gofer_->Status("CapAmb"), "0000000000000000");
    EXPECT_EQ(gofer_->Status("CapBnd"), capabilities);
    EXPECT_EQ(gofer_->Status("NoNewPrivs"), "1");
    EXPECT_EQ(gofer_->Status("Seccomp"), "2");
  }

  const TempTree tree_;
  const TempTree run_;
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<lisafs::Client> client_;
};

TEST_F(ConfineStateTest, EveryThreadAsRoot) {
  Start({});
  ExpectEveryThreadConfined("000000000000001b");
  EXPECT_EQ(gofer_->Status("Groups"), "");
  ExpectTheTruth(gofer_->pid());
}

TEST_F(ConfineStateTest, EveryThreadWithoutRoot) {
  Start({}, /*as_root=*/false);
  ExpectEveryThreadConfined("000000000000001b");
  ExpectTheTruth(gofer_->pid());
}

TEST_F(ConfineStateTest, EveryThreadInAChroot) {
  Start({"--sandbox=chroot"});
  ExpectEveryThreadConfined("000000000000001b");
  ExpectTheTruth(gofer_->pid());
  EXPECT_TRUE(absl::StrContains(Ask(), "sandbox: chroot\n"));
}

TEST_F(ConfineStateTest, TheProcessThatServesInAPidNamespace) {
  Start({"--pid_namespace"});
  std::istringstream children(
      Proc(gofer_->pid(), absl::StrCat("task/", gofer_->pid(), "/children")));
  pid_t serving = 0;
  ASSERT_TRUE(children >> serving);
  EXPECT_EQ(Field(Proc(serving, "status"), "NSpid"), absl::StrCat(serving, " 1"));
  ExpectTheTruth(serving);
}

TEST_F(ConfineStateTest, WhatAPersonReads) {
  Start({"--landlock=off"});
  const std::string text = Ask();
  for (const char* const line :
       {"sandbox: namespace\n", "  CHOWN              new files get the client's owner\n",
        "landlock: not in force: --landlock=off\n", "  Max core file size         0 soft, 0 hard\n",
        "seccomp: kill; any other call: the process is killed\n",
        "  openat2            look up one name (arg0 is a descriptor)\n"}) {
    EXPECT_TRUE(absl::StrContains(text, line)) << line << "\n" << text;
  }
}

TEST_F(ConfineStateTest, StatusSaysWhatIsNotInForce) {
  Start({"--landlock=off", "--seccomp=none"});
  GoferProcess command(GoferStart{
      .name = "gofer",
      .arguments = {"status", absl::StrCat("--control_socket=", run_.At("control")), "--json"}});
  EXPECT_EQ(command.Wait(), 0) << command.Stderr();
  EXPECT_TRUE(absl::StrContains(
      command.Stdout(),
      "\"sandbox\":\"namespace\",\"seccomp\":\"none\",\"landlock\":\"--landlock=off\""))
      << command.Stdout();
}

// Nobody but root looks into it: no tracing by its own user, and no core file.
TEST_F(ConfineStateTest, NotTracedByItsOwnUserAndNoCore) {
  Start({}, /*as_root=*/false);
  const ChildEnd end = InChild([&] {
    PCHECK(setgroups(0, nullptr) == 0);
    PCHECK(setresgid(kNobody, kNobody, kNobody) == 0);
    PCHECK(setresuid(kNobody, kNobody, kNobody) == 0);
    EXPECT_EQ(ptrace(PTRACE_SEIZE, gofer_->pid(), nullptr, nullptr), -1);
    EXPECT_EQ(errno, EPERM);
    EXPECT_EQ(open(absl::StrCat("/proc/", gofer_->pid(), "/mem").c_str(), O_RDONLY), -1);
    EXPECT_EQ(errno, EACCES);
  });
  EXPECT_EQ(end.status, 0) << end.stderr_text;
  EXPECT_EQ(Limit(gofer_->pid(), "Max core file size").second, "0");
}

}  // namespace
}  // namespace gofer::testing
