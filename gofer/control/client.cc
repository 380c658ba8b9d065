#include "gofer/control/client.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/status_macros.h"
#include "gofer/control/frame.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

// How long one who could not say anything listens for why.
constexpr absl::Duration kLastWords = absl::Seconds(1);

absl::Status StatusOf(const Failure& failure) {
  return WithExitStatus(absl::AbortedError(failure.message()), failure.exit_status());
}

}  // namespace

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
  if (const absl::Status sent = SendRequest(socket, request, descriptor); !sent.ok()) {
    // Who is turned away is told so, and may be before its request is on its way.
    const absl::StatusOr<Reply> why = ReceiveReply(socket, absl::Now() + kLastWords);
    return why.ok() && why->has_failure() ? StatusOf(why->failure()) : sent;
  }
  for (;;) {
    ASSIGN_OR_RETURN(Reply reply, ReceiveReply(socket, absl::InfiniteFuture()));
    if (reply.has_failure()) return StatusOf(reply.failure());
    if (!reply.has_progress()) return reply;
    progress(reply.progress());
  }
}

}  // namespace gofer::control
