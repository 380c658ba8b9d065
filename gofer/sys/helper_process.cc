#include "gofer/sys/helper_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <vector>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/process.h"

namespace gofer::sys {
namespace {

using internal::Call;

ErrnoOr<void> Prepare(const char* name, std::span<const int> keep, BorrowedFd socket) {
  (void)::setsid();  // a ^C at the terminal is not for it
  (void)::prctl(PR_SET_NAME, name);
  for (int signal = 1; signal < NSIG; ++signal) ::signal(signal, SIG_IGN);
  const UniqueFd null(Call("open", [] { return ::open("/dev/null", O_RDWR | O_CLOEXEC); }));
  if (!null.valid()) return Errno::Last();
  for (const int stream : {0, 1, 2}) RETURN_IF_ERROR(DuplicateAs(null, stream));
  std::vector<int> kept(keep.begin(), keep.end());
  kept.push_back(socket.get());
  RETURN_IF_ERROR(CloseAllExcept(kept));
  return ChangeToRootDirectory();
}

}  // namespace

ErrnoOr<UniqueFd> StartHelper(const char* name, std::span<const int> keep,
                              absl::FunctionRef<void(BorrowedFd socket)> body) {
  int pair[2];
  if (Call("socketpair",
           [&] { return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair); }) < 0) {
    return Errno::Last();
  }
  UniqueFd ours(pair[0]);
  const UniqueFd theirs(pair[1]);
  const pid_t child = Call("fork", [] { return ::fork(); });
  if (child < 0) return Errno::Last();
  if (child > 0) return ours;
  // The numbers that are not kept are closed behind the back of their owners here, none of which
  // gets to run: the process ends in this function.
  if (Prepare(name, keep, theirs).ok()) body(theirs);
  ExitNow(0);
}

ErrnoOr<void> SendNumber(BorrowedFd socket, int32_t number) {
  struct iovec bytes = {.iov_base = &number, .iov_len = sizeof(number)};
  struct msghdr message = {};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  if (Call("sendmsg", [&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL); }) < 0) {
    return Errno::Last();
  }
  return {};
}

ErrnoOr<std::optional<int32_t>> ReceiveNumber(BorrowedFd socket) {
  int32_t number;
  const ssize_t size =
      Call("recvfrom", [&] { return ::recv(socket.get(), &number, sizeof(number), 0); });
  if (size < 0) return Errno::Last();
  if (size != sizeof(number)) return std::optional<int32_t>();
  return std::optional(number);
}

}  // namespace gofer::sys
