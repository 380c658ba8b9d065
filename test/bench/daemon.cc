#include "test/bench/daemon.h"

#include <time.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace gofer::bench {
namespace {

using vhost::driver::FuseClient;
using vhost::driver::FuseClientOptions;
using vhost::driver::Machine;

// What a VMM's user gives a disk that matters.
constexpr uint16_t kQueueSize = 1024;

std::unique_ptr<Machine> Boot(testing::VhostDaemon& process, const FuseClientOptions& client) {
  auto machine = Machine::Attach(
      process.TakeSocket(),
      {.queue = {.size = kQueueSize},
       .ram_bytes = (uint64_t{64} << 20) + client.depth * (client.data_bytes + (256 << 10))});
  CHECK(machine.ok()) << machine.error().ToString() << ": " << process.Stderr();
  const auto started = (*machine)->Start();
  CHECK(started.ok()) << started.error().ToString() << ": " << process.Stderr();
  return *std::move(machine);
}

}  // namespace

Daemon::Daemon(const Contender& contender, const std::string& dir, const FuseClientOptions& client)
    : process_(contender.command, dir),
      machine_(Boot(process_, client)),
      client_(std::make_unique<FuseClient>(machine_.get(), client)) {
  const auto granted = client_->Init();
  CHECK(granted.ok()) << contender.name << ": " << granted.error().ToString() << ": "
                      << process_.Stderr();
  pids_ = process_.Processes();
}

uint64_t Daemon::CpuNs() const {
  uint64_t sum = 0;
  for (const pid_t pid : pids_) {
    clockid_t clock;
    CHECK_EQ(clock_getcpuclockid(pid, &clock), 0);
    timespec now;
    PCHECK(clock_gettime(clock, &now) == 0);
    sum += static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
  }
  return sum;
}

uint64_t Daemon::AnonymousKib() const {
  uint64_t sum = 0;
  for (const pid_t pid : pids_) {
    std::ifstream status(absl::StrCat("/proc/", pid, "/status"));
    for (std::string line; std::getline(status, line);) {
      if (absl::StartsWith(line, "RssAnon:")) sum += std::stoull(line.substr(8));
    }
  }
  return sum;
}

uint64_t Daemon::OpenFds() const {
  uint64_t sum = 0;
  for (const pid_t pid : pids_) {
    const std::filesystem::directory_iterator fds(absl::StrCat("/proc/", pid, "/fd"));
    sum += static_cast<uint64_t>(std::distance(begin(fds), end(fds)));
  }
  return sum;
}

}  // namespace gofer::bench
