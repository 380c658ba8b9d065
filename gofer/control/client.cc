#include "gofer/control/client.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/control/frame.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

constexpr char kExitStatusPayload[] = "gofer/exit_status";

absl::Status AsStatus(const Failure& failure) {
  absl::Status status = absl::AbortedError(failure.message());
  status.SetPayload(kExitStatusPayload, absl::Cord(absl::StrCat(failure.exit_status())));
  return status;
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
  RETURN_IF_ERROR(SendRequest(socket, request, descriptor));
  for (;;) {
    ASSIGN_OR_RETURN(Reply reply, ReceiveReply(socket, absl::InfiniteFuture()));
    if (reply.has_failure()) return AsStatus(reply.failure());
    if (!reply.has_progress()) return reply;
    progress(reply.progress());
  }
}

int ExitStatusOf(const absl::Status& status) {
  if (status.ok()) return 0;
  int exit_status = 1;
  if (const auto payload = status.GetPayload(kExitStatusPayload); payload.has_value()) {
    if (!absl::SimpleAtoi(std::string(*payload), &exit_status) || exit_status == 0) return 1;
  }
  return exit_status;
}

}  // namespace gofer::control
