#include "gofer/control/frame.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

using google::protobuf::MessageLite;

// Fills `to` before the deadline; the first descriptor that comes along is put into `descriptor`,
// others are closed.
absl::Status ReceiveAll(BorrowedFd socket, std::span<std::byte> to, absl::Time deadline,
                        UniqueFd& descriptor) {
  for (size_t done = 0; done < to.size();) {
    const absl::Duration left = std::max(deadline - absl::Now(), absl::ZeroDuration());
    const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(std::span(&socket, 1), left);
    if (!ready.ok()) return ToStatus(ready.error(), "control socket: poll");
    if (ready->empty()) {
      return absl::DeadlineExceededError(
          absl::StrCat("control socket: ", done, " of ", to.size(), " bytes came in time"));
    }
    std::array<UniqueFd, 2> descriptors;
    const ErrnoOr<sys::Received> got = sys::ReceiveWithFds(socket, to.subspan(done), descriptors);
    if (!got.ok()) return ToStatus(got.error(), "control socket: receive");
    if (got->fds > 0 && !descriptor.valid()) descriptor = std::move(descriptors[0]);
    if (got->bytes == 0) {
      if (done == 0) return absl::OutOfRangeError("control socket: closed by the peer");
      return absl::DataLossError(
          absl::StrCat("control socket: closed after ", done, " of ", to.size(), " bytes"));
    }
    done += got->bytes;
  }
  return absl::OkStatus();
}

absl::Status Receive(BorrowedFd socket, size_t limit, absl::Time deadline, MessageLite& message,
                     UniqueFd& descriptor) {
  uint32_t size = 0;
  RETURN_IF_ERROR(
      ReceiveAll(socket, std::as_writable_bytes(std::span(&size, 1)), deadline, descriptor));
  if (size > limit) {
    return absl::InvalidArgumentError(
        absl::StrCat("control socket: a message of ", size, " bytes, the limit is ", limit));
  }
  std::string bytes(size, '\0');
  const absl::Status received =
      ReceiveAll(socket, std::as_writable_bytes(std::span(bytes)), deadline, descriptor);
  if (absl::IsOutOfRange(received)) {
    return absl::DataLossError("control socket: closed behind the size of a message");
  }
  RETURN_IF_ERROR(received);
  if (!message.ParseFromString(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("control socket: ", size, " bytes that are no ", message.GetTypeName()));
  }
  return absl::OkStatus();
}

absl::Status Send(BorrowedFd socket, size_t limit, const MessageLite& message,
                  BorrowedFd descriptor) {
  std::string bytes;
  if (!message.SerializeToString(&bytes) || bytes.size() > limit) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "control socket: a message of ", message.ByteSizeLong(), " bytes, the limit is ", limit));
  }
  auto size = static_cast<uint32_t>(bytes.size());
  struct iovec parts[] = {{&size, sizeof(size)}, {bytes.data(), bytes.size()}};
  const ErrnoOr<void> sent =
      sys::SendAll(socket, parts, std::span(&descriptor, descriptor.get() >= 0 ? 1 : 0));
  return sent.ok() ? absl::OkStatus() : ToStatus(sent.error(), "control socket: send");
}

}  // namespace

absl::Status SendRequest(BorrowedFd socket, const Request& request, BorrowedFd descriptor) {
  return Send(socket, kMaxRequestBytes, request, descriptor);
}

absl::StatusOr<Received> ReceiveRequest(BorrowedFd socket, absl::Time deadline) {
  Received received;
  RETURN_IF_ERROR(
      Receive(socket, kMaxRequestBytes, deadline, received.request, received.descriptor));
  return received;
}

absl::Status SendReply(BorrowedFd socket, const Reply& reply) {
  return Send(socket, kMaxReplyBytes, reply, BorrowedFd(-1));
}

absl::StatusOr<Reply> ReceiveReply(BorrowedFd socket, absl::Time deadline) {
  Reply reply;
  UniqueFd unexpected;
  RETURN_IF_ERROR(Receive(socket, kMaxReplyBytes, deadline, reply, unexpected));
  return reply;
}

}  // namespace gofer::control
