// Frontend: the VMM's end of a vhost-user socket, message by message. It keeps no rule of the
// protocol for the caller: machine.h has the sequences that real VMMs send.
//
// Owner:   owns the socket; closing it ends the device.
// Threads: one.
// Errors:  ESHUTDOWN: the back-end has closed the socket. ETIMEDOUT: no reply within a minute.
//          EBADMSG: a reply that a VMM would not take. EREMOTEIO: an acknowledgement that says no.
// Source:  spec/vhost-user-fs.md s.2 and s.3.

#ifndef VHOST_DRIVER_FRONTEND_H_
#define VHOST_DRIVER_FRONTEND_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gofer/base/byte_reader.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/memory/memory_region.h"
#include "vhost/user/message.h"

namespace gofer::vhost::driver {

class Frontend {
 public:
  explicit Frontend(UniqueFd socket);
  // Connects to a back-end that listens, and waits for it to do so, as VMMs do.
  static ErrnoOr<UniqueFd> Connect(const std::string& path,
                                   absl::Duration patience = absl::Seconds(60));

  // ---- any message

  // `flags` besides the version.
  ErrnoOr<void> Send(user::MessageId id, std::span<const std::byte> payload,
                     std::span<const BorrowedFd> fds = {}, uint32_t flags = 0);
  // The bytes as they are, framed or not.
  ErrnoOr<void> SendBytes(std::span<const std::byte> bytes, std::span<const BorrowedFd> fds = {});

  struct Reply {
    user::MessageHeader header;
    std::vector<std::byte> payload;
    std::vector<UniqueFd> fds;
  };
  // The next reply, which must be one to `id`.
  ErrnoOr<Reply> Receive(user::MessageId id);

  // ---- messages with a reply of their own

  template <WireStruct T>
  ErrnoOr<T> Ask(user::MessageId id, std::span<const std::byte> payload = {},
                 std::span<const BorrowedFd> fds = {}) {
    RETURN_IF_ERROR(Send(id, payload, fds));
    ASSIGN_OR_RETURN(const Reply reply, Receive(id));
    if (reply.payload.size() != sizeof(T)) return Errno(EBADMSG);
    T value;
    std::memcpy(&value, reply.payload.data(), sizeof(T));
    return value;
  }

  // ---- messages without

  // Whether Tell asks for an acknowledgement and waits for it. Only where REPLY_ACK is negotiated.
  enum class Ack { kNone, kWanted };
  ErrnoOr<void> Tell(user::MessageId id, std::span<const std::byte> payload,
                     std::span<const BorrowedFd> fds, Ack ack);
  template <WireStruct T>
  ErrnoOr<void> Tell(user::MessageId id, const T& payload, Ack ack = Ack::kNone) {
    return Tell(id, std::as_bytes(std::span(&payload, 1)), {}, ack);
  }
  template <WireStruct T>
  ErrnoOr<void> TellWithFd(user::MessageId id, const T& payload, BorrowedFd fd,
                           Ack ack = Ack::kNone) {
    return Tell(id, std::as_bytes(std::span(&payload, 1)), std::span(&fd, 1), ack);
  }

  // ---- payloads that are more than a struct

  ErrnoOr<void> SetMemoryTable(const GuestRam& ram, Ack ack);
  ErrnoOr<void> AddRegion(const RegionLayout& region, BorrowedFd file, Ack ack);
  ErrnoOr<void> RemoveRegion(const RegionLayout& region, Ack ack);
  // SET_VRING_KICK, _CALL or _ERR; an invalid descriptor says that there is none.
  ErrnoOr<void> SetVringFd(user::MessageId id, uint32_t index, BorrowedFd fd, Ack ack);

  BorrowedFd socket() const { return socket_; }

 private:
  ErrnoOr<void> ReceiveAll(std::span<std::byte> to, std::vector<UniqueFd>* fds);

  const UniqueFd socket_;
};

}  // namespace gofer::vhost::driver

#endif  // VHOST_DRIVER_FRONTEND_H_
