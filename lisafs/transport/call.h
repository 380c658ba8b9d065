// Call: one request on its way through the server, and its reply being written. CallHandler: who
//       answers it.
//
// The transports make a Call, the server's Connection handles it, the transport sends what it left.
//
// Memory:  `payload` is a private copy, made once. `bulk` is what follows it for PWrite, and may
//          lie in memory that the client can write: it goes to a system call and is never looked
//          at. `body` writes straight into the packet window or the socket buffer, after the
//          request was copied out; nothing written is read back.
// Threads: a Call belongs to the thread that serves its channel or socket.
// Source:  spec/lisafs.md s.2 to s.4.

#ifndef LISAFS_TRANSPORT_CALL_H_
#define LISAFS_TRANSPORT_CALL_H_

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "gofer/base/byte_writer.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/socket.h"
#include "lisafs/wire/message_id.h"
#include "lisafs/wire/requests.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

// The descriptors that ride along with a reply.
class DonatedFds {
 public:
  // Sent and then closed: the client's copy is the only one.
  void Give(gofer::UniqueFd fd) {
    Lend(fd);
    owned_[count_ - 1] = std::move(fd);
  }
  // Sent, and still the lender's, who keeps it open until the reply is out.
  void Lend(gofer::BorrowedFd fd) { fds_[count_++] = fd; }
  void Clear() { *this = DonatedFds(); }

  std::span<const gofer::BorrowedFd> fds() const { return std::span(fds_).first(count_); }

 private:
  size_t count_ = 0;
  std::array<gofer::BorrowedFd, gofer::sys::kMaxDonatedFds> fds_;
  std::array<gofer::UniqueFd, gofer::sys::kMaxDonatedFds> owned_;
};

class Call {
 public:
  Call(MessageId id, Payload payload, std::span<const std::byte> bulk, std::span<std::byte> reply)
      : id(id), payload(payload), bulk(bulk), body(reply) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  // Turns whatever was written into an Error reply, which carries no descriptors.
  void Fail(gofer::Errno error) {
    reply_id_ = MessageId::kError;
    error_ = error;
    donated.Clear();
    body.Clear();
    body.Write(ErrorResp{static_cast<uint32_t>(error.value())});
  }

  MessageId reply_id() const { return reply_id_; }
  // What the client is told, if it is an error.
  std::optional<gofer::Errno> error() const { return error_; }

  const MessageId id;
  const Payload payload;
  const std::span<const std::byte> bulk;
  gofer::ByteWriter body;
  DonatedFds donated;

 private:
  MessageId reply_id_ = id;
  std::optional<gofer::Errno> error_;
};

class CallHandler {
 public:
  virtual ~CallHandler() = default;
  // Answers the call in place, whatever it is. Called by several threads at once, for different
  // calls. One that the transport has had to refuse comes with its error, and keeps it.
  virtual void Handle(Call& call) = 0;
};

// How much of a request's payload must be copied out of shared memory: all of it, but for PWrite's
// data.
inline size_t PrivateSize(MessageId id, size_t payload_size) {
  if (id == MessageId::kPWrite && payload_size > sizeof(PWriteReqFixed))
    return sizeof(PWriteReqFixed);
  return payload_size;
}

}  // namespace lisafs

#endif  // LISAFS_TRANSPORT_CALL_H_
