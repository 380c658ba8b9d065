#include "gofer/sys/child.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

// In the child. `parent` was opened before: in a new pid namespace the parent has no number.
bool HasParent(BorrowedFd parent, int death_signal) {
  if (::prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0) return false;
  struct pollfd ended = {.fd = parent.get(), .events = POLLIN, .revents = 0};
  return Call("poll", [&] { return ::poll(&ended, 1, 0); }) == 0;
}

}  // namespace

ErrnoOr<int> Fork(int death_signal) {
  ASSIGN_OR_RETURN(const UniqueFd parent, ProcessDescriptor(::getpid()));
  const pid_t child = static_cast<pid_t>(Call("fork", [] { return ::fork(); }));
  if (child < 0) return Errno::Last();
  if (child == 0 && !HasParent(parent, death_signal)) ::_exit(1);
  return child;
}

ErrnoOr<UniqueFd> ProcessDescriptor(int pid) {
  UniqueFd fd(
      static_cast<int>(Call("pidfd_open", [&] { return syscall(SYS_pidfd_open, pid, 0); })));
  if (!fd.valid()) return Errno::Last();
  return fd;
}

ErrnoOr<ChildStatus> WaitForChild(int pid) {
  siginfo_t info = {};
  if (Call("waitid", [&] { return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED); }) < 0) {
    return Errno::Last();
  }
  if (info.si_code == CLD_EXITED) return ChildStatus{.status = info.si_status, .signal = 0};
  return ChildStatus{.status = 0, .signal = info.si_status};
}

ErrnoOr<void> SignalChild(int pid, int signal) {
  if (pid <= 0) return Errno(EINVAL);  // to kill(2) these are many processes, or all
  if (::kill(pid, signal) != 0) return Errno::Last();
  return {};
}

}  // namespace gofer::sys
