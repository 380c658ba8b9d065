#include "test/support/gofer_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "gtest/gtest.h"

namespace gofer::testing {
namespace {

constexpr int kStillRunning = -1000;
// Above every number that a test asks for.
constexpr int kScratch = 500;

UniqueFd TextFile(const char* name) {
  UniqueFd file(memfd_create(name, MFD_CLOEXEC));
  PCHECK(file.valid());
  return file;
}

std::string Content(BorrowedFd file) {
  std::string text(static_cast<size_t>(lseek(file.get(), 0, SEEK_END)), '\0');
  PCHECK(pread(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return text;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// "ERROR: AddressSanitizer", "WARNING: ThreadSanitizer", and what the undefined one says.
bool FoundBySanitizer(absl::string_view log) {
  return absl::StrContains(log, "Sanitizer: ") || absl::StrContains(log, ": runtime error: ");
}

// All that the child needs, made before there is one.
struct Becoming {
  std::string binary;
  std::vector<std::pair<int, int>> fds;  // number in the process, ours
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::optional<uint32_t> user;
};

// In the child, of which another thread may have held any lock: nothing here allocates, and nothing
// returns.
[[noreturn]] void Become(Becoming& to) {
  for (auto& [as, from] : to.fds) PCHECK((from = fcntl(from, F_DUPFD_CLOEXEC, kScratch)) >= 0);
  for (const auto& [as, from] : to.fds) PCHECK(dup2(from, as) == as);
  // By descriptor: the user need not be able to come by the path.
  const int program = open(to.binary.c_str(), O_PATH | O_CLOEXEC);
  PCHECK(program >= 0);
  if (to.user.has_value()) {
    PCHECK(setgroups(0, nullptr) == 0);
    PCHECK(setresgid(*to.user, *to.user, *to.user) == 0);
    PCHECK(setresuid(*to.user, *to.user, *to.user) == 0);
  }
  fexecve(program, to.arguments.data(), to.environment.data());
  PLOG(ERROR) << to.binary;
  _exit(127);
}

}  // namespace

std::string GoferBinary() {
  const std::filesystem::path path = std::filesystem::current_path() / "gofer" / "gofer";
  CHECK(std::filesystem::exists(path)) << path << ": the test's data lacks //gofer";
  return path;
}

GoferProcess::GoferProcess(const GoferStart& start)
    : stdout_(TextFile("stdout")), stderr_(TextFile("stderr")) {
  std::vector<std::string> arguments = {start.name};
  arguments.insert(arguments.end(), start.arguments.begin(), start.arguments.end());
  std::vector<std::string> environment = start.environment;
  Becoming child = {.binary = GoferBinary(),
                    .fds = {{1, stdout_.get()}, {2, stderr_.get()}},
                    .arguments = Pointers(arguments),
                    .environment = Pointers(environment),
                    .user = start.user};
  child.fds.insert(child.fds.end(), start.fds.begin(), start.fds.end());
  unsigned long namespaces =
      start.namespaces ? CLONE_NEWIPC | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWUTS
                       : 0;
  if (start.user_namespace) namespaces |= CLONE_NEWUSER;
  pid_ = static_cast<pid_t>(
      syscall(SYS_clone, namespaces | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
  PCHECK(pid_ >= 0);
  if (pid_ == 0) Become(child);
}

GoferProcess::~GoferProcess() {
  if (Running()) {
    Signal(SIGKILL);
    Wait();
  }
  // Reported at its end perhaps, when no client was there any more to miss it.
  const std::string said = Stderr();
  EXPECT_FALSE(FoundBySanitizer(said)) << said;
}

void GoferProcess::Signal(int signal) const { PCHECK(kill(pid_, signal) == 0); }

void GoferProcess::MapIds() const {
  for (const char* const map : {"/uid_map", "/gid_map"}) {
    std::ofstream file(absl::StrCat("/proc/", pid_, map));
    file << "0 0 65536" << std::flush;
    CHECK(file.good()) << map;
  }
}

int GoferProcess::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (status_ == kStillRunning) {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    PCHECK(ended >= 0);
    if (ended == pid_) status_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    if (ended == 0 && absl::Now() > deadline) break;
    if (ended == 0) absl::SleepFor(absl::Milliseconds(1));
  }
  return status_;
}

bool GoferProcess::Running() { return Wait(absl::ZeroDuration()) == kStillRunning; }

std::string GoferProcess::Stdout() const { return Content(stdout_); }
std::string GoferProcess::Stderr() const { return Content(stderr_); }

std::string GoferProcess::Status(absl::string_view name) const {
  std::set<std::string> values;
  for (const auto& task :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid_, "/task"))) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      absl::string_view text = line;
      if (absl::ConsumePrefix(&text, name) && absl::ConsumePrefix(&text, ":")) {
        values.insert(std::string(absl::StripAsciiWhitespace(text)));
      }
    }
  }
  return absl::StrJoin(values, " and ");
}

std::vector<int> GoferProcess::OpenFds() const {
  std::vector<int> fds;
  for (const auto& entry :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", pid_, "/fd"))) {
    int fd;
    if (absl::SimpleAtoi(entry.path().filename().string(), &fd)) fds.push_back(fd);
  }
  return fds;
}

SocketPair StreamPair() {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Pipe MakePipe() {
  int fds[2];
  PCHECK(pipe2(fds, O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::string ReadPipe(BorrowedFd pipe, absl::Duration timeout) {
  std::string text;
  for (;;) {
    struct pollfd ready = {.fd = pipe.get(), .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, static_cast<int>(absl::ToInt64Milliseconds(timeout))) <= 0) {
      return text + "(nothing yet)";
    }
    char buffer[4096];
    const ssize_t size = read(pipe.get(), buffer, sizeof(buffer));
    PCHECK(size >= 0);
    if (size == 0) return text;
    text.append(buffer, static_cast<size_t>(size));
  }
}

}  // namespace gofer::testing
