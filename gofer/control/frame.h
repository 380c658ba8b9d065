// Messages on a control socket: a size, the bytes, and on the first of them at most one descriptor.
//
// Owner:   the caller keeps the socket. Threads: one reader and one writer per socket.
// Errors:  absl::Status
//            kOutOfRange          the peer has closed the socket between two messages;
//            kDataLoss            within one;
//            kInvalidArgument     a size beyond the limit, or bytes that do not parse;
//            kDeadlineExceeded    it did not arrive whole in time;
//            and the kernel's errno, see ToStatus.
// Source:  spec/security.md s.5.

#ifndef GOFER_CONTROL_FRAME_H_
#define GOFER_CONTROL_FRAME_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/control.pb.h"

namespace gofer::control {

inline constexpr size_t kMaxRequestBytes = 64 << 10;
// A report names every file that differs.
inline constexpr size_t kMaxReplyBytes = 64 << 20;

// A request, and the descriptor that came with it, if any.
struct Received {
  Request request;
  UniqueFd descriptor;
};

absl::Status SendRequest(BorrowedFd socket, const Request& request, BorrowedFd descriptor);
absl::StatusOr<Received> ReceiveRequest(BorrowedFd socket, absl::Time deadline);
absl::Status SendReply(BorrowedFd socket, const Reply& reply);
absl::StatusOr<Reply> ReceiveReply(BorrowedFd socket, absl::Time deadline);

}  // namespace gofer::control

#endif  // GOFER_CONTROL_FRAME_H_
