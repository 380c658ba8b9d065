#include "test/bench/server_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "glog/logging.h"

namespace gofer::bench {
namespace {

uint64_t ReadClock(clockid_t clock) {
  timespec now;
  PCHECK(clock_gettime(clock, &now) == 0);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

std::pair<UniqueFd, UniqueFd> StreamPair() {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

std::pair<UniqueFd, UniqueFd> Pipe() {
  int fds[2];
  PCHECK(pipe2(fds, O_CLOEXEC) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// The smallest container specification that runsc accepts.
UniqueFd SpecFile(const std::string& root) {
  const std::string spec = absl::StrCat(
      R"({"ociVersion":"1.0.0","process":{"args":["true"],"cwd":"/","user":{"uid":0,"gid":0}},"root":{"path":")",
      root, R"("}})");
  UniqueFd file(open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  PCHECK(file.valid()) << "O_TMPFILE in /tmp";
  PCHECK(write(file.get(), spec.data(), spec.size()) == static_cast<ssize_t>(spec.size()));
  return file;
}

// Sends Mount and waits for the reply to begin; takes nothing off the socket but that reply.
void AwaitFirstReply(BorrowedFd socket, const std::string& command) {
  const std::array<uint8_t, 8> mount = {0, 0, 0, 0, 1, 0, 0, 0};
  PCHECK(send(socket.get(), mount.data(), mount.size(), MSG_NOSIGNAL) == 8) << command;
  pollfd readable = {.fd = socket.get(), .events = POLLIN, .revents = 0};
  PCHECK(poll(&readable, 1, 10000) == 1) << command << " does not answer";
  uint32_t header[2];
  CHECK_EQ(recv(socket.get(), header, sizeof(header), MSG_WAITALL), 8) << command << " has ended";
  std::string payload(header[0], '\0');
  CHECK_EQ(recv(socket.get(), payload.data(), payload.size(), MSG_WAITALL),
           static_cast<ssize_t>(payload.size()));
}

}  // namespace

uint64_t NowNs() { return ReadClock(CLOCK_MONOTONIC); }

ServerProcess::ServerProcess(const ServerStart& start) {
  std::vector<UniqueFd> theirs;
  std::vector<int> numbers;
  for (int i = 0; i < start.num_connections; ++i) {
    auto [server_end, client_end] = StreamPair();
    numbers.push_back(server_end.get());
    theirs.push_back(std::move(server_end));
    sockets_.push_back(std::move(client_end));
  }
  auto [ready, ready_theirs] = Pipe();
  const int ready_number = ready_theirs.get();

  std::vector<std::string> words = start.command;
  const bool is_runsc = start.kind == ServerStart::Kind::kRunscGofer;
  if (is_runsc) {
    UniqueFd spec = SpecFile(start.root);
    words.insert(words.end(),
                 {"--TESTONLY-unsafe-nonroot", "gofer", "--bundle", "/tmp", "--apply-caps=false",
                  "--setup-root=false", absl::StrCat("--spec-fd=", spec.get()),
                  absl::StrCat("--mounts-fd=", ready_number),
                  absl::StrCat("--io-fds=", absl::StrJoin(numbers, ","))});
    CHECK_EQ(start.num_connections, 1) << "runsc gofer: one root";
    theirs.push_back(std::move(spec));
  } else {
    words.insert(words.end(), {absl::StrCat("--root=", start.root),
                               absl::StrCat("--lisafs_fd=", absl::StrJoin(numbers, ",")),
                               absl::StrCat("--ready_fd=", ready_number)});
  }
  theirs.push_back(std::move(ready_theirs));
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  const uint64_t begin = NowNs();
  // vfork's child borrows our memory: nothing is copied, so our own size does not count as start
  // time.
  pid_ = vfork();
  PCHECK(pid_ >= 0) << "vfork";
  if (pid_ == 0) {
    for (const UniqueFd& fd : theirs) fcntl(fd.get(), F_SETFD, 0);
    // What servers log would mix with the tables; errors show as a server that does not answer.
    const int null = open("/dev/null", O_RDWR);
    dup2(null, STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  theirs.clear();
  if (!is_runsc) {
    char newline = 0;
    PCHECK(read(ready.get(), &newline, 1) == 1) << words[0] << " has ended";
    CHECK_EQ(newline, '\n');
    ready_ns_ = NowNs() - begin;
  }
  AwaitFirstReply(sockets_[0], words[0]);
  first_reply_ns_ = NowNs() - begin;
}

ServerProcess::~ServerProcess() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

uint64_t ServerProcess::CpuNs() const {
  clockid_t clock;
  CHECK_EQ(clock_getcpuclockid(pid_, &clock), 0);
  return ReadClock(clock);
}

std::optional<PrivateMemory> ServerProcess::Memory() const {
  PrivateMemory memory;
  std::ifstream file(absl::StrCat("/proc/", pid_, "/smaps_rollup"));
  if (!file.good()) return std::nullopt;
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, colon);
    const int64_t kib = std::strtoll(line.c_str() + colon + 1, nullptr, 10);
    if (key == "Private_Clean" || key == "Private_Dirty") memory.private_kib += kib;
    if (key == "Anonymous") memory.anonymous_kib = kib;
  }
  return memory;
}

}  // namespace gofer::bench
