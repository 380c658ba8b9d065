#include "gofer/sys/program.h"

#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/call.h"
#include "gofer/sys/child.h"
#include "gofer/sys/process.h"

namespace gofer::sys {
namespace {

using internal::Call;

// A file with the text, at its start: unlike a pipe it takes any length before anybody reads.
ErrnoOr<UniqueFd> FileWith(const std::string& text) {
  UniqueFd file(
      static_cast<int>(Call("memfd_create", [] { return ::memfd_create("input", MFD_CLOEXEC); })));
  if (!file.valid()) return Errno::Last();
  RETURN_IF_ERROR(WriteAll(file, text));
  if (::lseek(file.get(), 0, SEEK_SET) < 0) return Errno::Last();
  return file;
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

ErrnoOr<pid_t> Spawn(const Program& program, BorrowedFd input) {
  posix_spawn_file_actions_t actions;
  if (const int error = posix_spawn_file_actions_init(&actions); error != 0) return Errno(error);
  int error = posix_spawn_file_actions_adddup2(&actions, input.get(), 0);
  pid_t pid = -1;
  if (error == 0) {
    const std::vector<std::string> own_name = {program.path};
    const std::vector<char*> arguments =
        Pointers(program.arguments.empty() ? own_name : program.arguments);
    const std::vector<char*> environment = Pointers(program.environment);
    error = posix_spawn(&pid, program.path.c_str(), &actions, nullptr, arguments.data(),
                        environment.data());
  }
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Errno(error);
  return pid;
}

// Whether the process ended within the time.
ErrnoOr<bool> WaitFor(pid_t pid, absl::Duration timeout) {
  if (timeout == absl::InfiniteDuration()) return true;  // WaitForChild will do
  ASSIGN_OR_RETURN(const UniqueFd pidfd, ProcessDescriptor(pid));
  const struct timespec limit = absl::ToTimespec(timeout);
  struct pollfd ended = {.fd = pidfd.get(), .events = POLLIN, .revents = 0};
  const int ready = Call("ppoll", [&] { return ::ppoll(&ended, 1, &limit, nullptr); });
  if (ready < 0) return Errno::Last();
  return ready > 0;
}

}  // namespace

ErrnoOr<int> RunProgram(const Program& program) {
  ASSIGN_OR_RETURN(const UniqueFd input, FileWith(program.input));
  ASSIGN_OR_RETURN(const pid_t pid, Spawn(program, input));
  const ErrnoOr<bool> ended = WaitFor(pid, program.timeout);
  if (!ended.ok() || !*ended) RETURN_IF_ERROR(SignalChild(pid, SIGKILL));
  ASSIGN_OR_RETURN(const ChildStatus child, WaitForChild(pid));
  if (!ended.ok()) return ended.error();
  if (!*ended) return Errno(ETIMEDOUT);
  return child.signal == 0 ? child.status : 128 + child.signal;
}

}  // namespace gofer::sys
