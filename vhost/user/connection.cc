#include "vhost/user/connection.h"

#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/hangup.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/socket.h"

namespace gofer::vhost::user {
namespace {

absl::Status Gone(absl::string_view how) {
  return absl::UnavailableError(absl::StrCat("front-end: ", how));
}

}  // namespace

absl::Status Connection::Fill(std::span<std::byte> to, size_t* num_fds) {
  while (!to.empty()) {
    const std::span<UniqueFd> room =
        num_fds == nullptr ? std::span<UniqueFd>() : std::span(fds_).subspan(*num_fds);
    const ErrnoOr<sys::Received> received = sys::ReceiveWithFds(socket_, to, room);
    if (!received.ok()) return Gone(received.error().ToString());
    if (received->bytes == 0) return Gone("end of file");
    if (num_fds != nullptr) *num_fds += received->fds;
    if (received->fds_lost)
      return absl::InvalidArgumentError("descriptors where no message has them, or too many");
    to = to.subspan(received->bytes);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Connection::WaitForMessage(BorrowedFd event) {
  const BorrowedFd watched[] = {socket_, event};
  const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(watched, absl::InfiniteDuration());
  if (!ready.ok()) return ToStatus(ready.error(), "poll");
  return std::find(ready->begin(), ready->end(), 1u) != ready->end();
}

bool Connection::HasHungUp() const { return sys::HasHungUp(socket_); }

absl::StatusOr<Message> Connection::Receive() {
  for (UniqueFd& fd : fds_) fd.Reset();
  size_t num_fds = 0;
  MessageHeader header;
  RETURN_IF_ERROR(Fill(std::as_writable_bytes(std::span(&header, 1)), &num_fds));
  if ((header.flags & kVersionMask) != kVersion || (header.flags & kReplyFlag) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(MessageName(header.id), ": flags 0x",
                                                   absl::Hex(header.flags),
                                                   " are not those of a request of version 1"));
  }
  if (header.size > kMaxPayload) {
    return absl::InvalidArgumentError(absl::StrCat(MessageName(header.id), ": payload of ",
                                                   header.size, " bytes, limit ", kMaxPayload));
  }
  const std::span<std::byte> payload = std::span(payload_).first(header.size);
  RETURN_IF_ERROR(Fill(payload, nullptr));
  return Message{.header = header, .payload = payload, .fds = std::span(fds_).first(num_fds)};
}

absl::Status Connection::Reply(MessageId id, std::span<const std::byte> payload, BorrowedFd fd) {
  MessageHeader header = {
      .id = id, .flags = kReplyFlags, .size = static_cast<uint32_t>(payload.size())};
  // sendmsg only reads from them.
  struct iovec parts[] = {
      {.iov_base = &header, .iov_len = sizeof(header)},
      {.iov_base = const_cast<std::byte*>(payload.data()), .iov_len = payload.size()}};
  const ErrnoOr<void> sent =
      sys::SendAll(socket_, parts, std::span<const BorrowedFd>(&fd, fd.valid() ? 1 : 0));
  return sent.ok() ? absl::OkStatus() : Gone(sent.error().ToString());
}

void Connection::ShutDown() { sys::Shutdown(socket_, SHUT_RDWR); }

}  // namespace gofer::vhost::user
