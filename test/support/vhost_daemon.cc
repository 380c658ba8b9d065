#include "test/support/vhost_daemon.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "glog/logging.h"
#include "test/support/eventually.h"
#include "vhost/driver/frontend.h"

namespace gofer::testing {
namespace {

// Short: an address has room for 107 bytes.
std::string NewSocketFolder() {
  std::string path = "/var/tmp/gofer-vhost.XXXXXX";
  PCHECK(mkdtemp(path.data()) != nullptr) << path;
  return path;
}

void AddChildren(pid_t of, std::vector<pid_t>& found) {
  std::error_code gone;
  const std::string tasks = absl::StrCat("/proc/", of, "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks, gone)) {
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;) {
      found.push_back(child);
      AddChildren(child, found);
    }
  }
}

}  // namespace

std::string QemuVirtiofsd() {
  const std::string path = "/usr/lib/qemu/virtiofsd";
  return std::filesystem::exists(path) ? path : "";
}

VhostDaemon::VhostDaemon(absl::string_view command, const std::string& dir)
    : socket_(absl::StrCat(NewSocketFolder(), "/s")), stderr_(memfd_create("stderr", MFD_CLOEXEC)) {
  PCHECK(stderr_.valid());
  std::vector<std::string> words;
  for (absl::string_view word : absl::StrSplit(command, ' ', absl::SkipEmpty())) {
    words.push_back(absl::StrReplaceAll(word, {{"{socket}", socket_}, {"{dir}", dir}}));
  }
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  // The child borrows our memory until it executes.
  pid_ = vfork();
  PCHECK(pid_ >= 0) << "vfork";
  if (pid_ == 0) {
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(stderr_.get(), STDOUT_FILENO);
    dup2(stderr_.get(), STDERR_FILENO);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
  const absl::Time deadline = absl::Now() + kPatience;
  for (;;) {
    ErrnoOr<UniqueFd> connected = vhost::driver::Frontend::Connect(socket_, absl::Milliseconds(20));
    if (connected.ok()) {
      connection_ = *std::move(connected);
      return;
    }
    CHECK(Running()) << command << " has ended with " << status_ << ": " << Stderr();
    CHECK(absl::Now() < deadline) << command << " does not listen: " << Stderr();
  }
}

VhostDaemon::~VhostDaemon() {
  connection_.Reset();
  if (Running()) {
    for (const pid_t pid : Processes()) kill(pid, SIGKILL);
    Wait(kPatience);
  }
  std::error_code ignored;
  std::filesystem::remove_all(std::filesystem::path(socket_).parent_path(), ignored);
}

std::vector<pid_t> VhostDaemon::Processes() const {
  std::vector<pid_t> found = {pid_};
  AddChildren(pid_, found);
  return found;
}

int VhostDaemon::Wait(absl::Duration timeout) {
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

std::string VhostDaemon::Stderr() const {
  std::string text(static_cast<size_t>(lseek(stderr_.get(), 0, SEEK_END)), '\0');
  PCHECK(pread(stderr_.get(), text.data(), text.size(), 0) >= 0);
  return text;
}

}  // namespace gofer::testing
