// Connection: the socket between a front-end and this back-end, message by message.
//
// A message's descriptors ride on the first byte of its header. So exactly a header is read, then
// exactly its payload: a byte too many could take the next message's descriptors away from it.
//
// Owner:   owns the socket, and the descriptors of the message received last until somebody takes
//          them; those that nobody took are closed with the next Receive.
// Threads: one receives and replies; ShutDown is safe from any.
// Errors:  kUnavailable: the front-end has gone, at whatever byte. kInvalidArgument: the stream
//          makes no sense any more, and neither would an answer. Both end the connection.
// Source:  spec/vhost-user-fs.md s.2.

#ifndef VHOST_USER_CONNECTION_H_
#define VHOST_USER_CONNECTION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "vhost/user/message.h"

namespace gofer::vhost::user {

// A message as it came; good until the next Receive.
struct Message {
  MessageHeader header;
  std::span<const std::byte> payload;
  std::span<UniqueFd> fds;

  bool needs_reply() const { return (header.flags & kNeedReplyFlag) != 0; }
};

class Connection {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  // Waits until a message, or its first bytes, has come; true: `event` came instead.
  absl::StatusOr<bool> WaitForMessage(BorrowedFd event);
  // Whether the front-end has closed its end, whatever is still to be read.
  bool HasHungUp() const;
  // Waits for the next message. What its rule says of size and descriptors is not yet checked.
  absl::StatusOr<Message> Receive();

  absl::Status Reply(MessageId id, std::span<const std::byte> payload, BorrowedFd fd = {});
  template <WireStruct T>
  absl::Status Reply(MessageId id, const T& payload, BorrowedFd fd = {}) {
    return Reply(id, std::as_bytes(std::span(&payload, 1)), fd);
  }

  // Ends a Receive that waits, and all later ones.
  void ShutDown();

 private:
  // More than any message has: what comes on top is told from what fits.
  static constexpr size_t kMaxFds = 32;

  // Reads until `to` is full. With `num_fds`, takes descriptors.
  absl::Status Fill(std::span<std::byte> to, size_t* num_fds);

  const UniqueFd socket_;
  std::array<UniqueFd, kMaxFds> fds_;
  std::array<std::byte, kMaxPayload> payload_;
};

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_CONNECTION_H_
