#include "gofer/control/client.h"

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/status_macros.h"
#include "gofer/control/frame.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
absl::StatusOr<UniqueFd> ConnectToGofer(const std::string& path) {
  ErrnoOr<UniqueFd> socket = sys::ConnectToPath(path);
  if (socket.ok()) return *std::move(socket);
  return ToStatus(socket.error(),
                  absl::StrCat("--control_socket=", path,
                               socket.error() == ECONNREFUSED || socket.error() == ENOENT
                                   ? ": no gofer listens there"
                                   : ""));
}

absl::StatusOr<Reply> Command(BorrowedFd socket, const Request& request, BorrowedFd descriptor,
                              absl::FunctionRef<void(const Progress&)> progress) {
  RETURN_IF_ERROR(SendRequest(socket, request, descriptor));
  for (;;) {
    ASSIGN_OR_RETURN(Reply reply, ReceiveReply(socket, absl::InfiniteFuture()));
    if (reply.has_failure()) {
      return WithExitStatus(absl::AbortedError(reply.failure().message()),
                            reply.failure().exit_status());
    }
    if (!reply.has_progress()) return reply;
    progress(reply.progress());
  }
}

}  // namespace gofer::control
