// Unix sockets: the framed main socket of a connection, the descriptor socket of a channel, and the
// host sockets that a policy may allow.
//
// Owner:   sockets that are made are returned owned, O_CLOEXEC. Threads: safe, except as said.
// Errors:  the kernel's errno. A peer that is gone never raises SIGPIPE.
// Source:  unix(7); spec/lisafs.md s.2.2, s.2.3, s.2.7, s.5.21, s.5.29.

#ifndef GOFER_SYS_SOCKET_H_
#define GOFER_SYS_SOCKET_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/host_fs.h"

namespace gofer::sys {

// Descriptors that travel with one message of ours; no message has more.
inline constexpr size_t kMaxDonatedFds = 2;

// Receives what is there, at least one byte; 0 at end of file. Descriptors that the peer sends
// along find no room and are dropped by the kernel.
ErrnoOr<size_t> Receive(BorrowedFd socket, std::span<std::byte> to);
// The same without waiting: EAGAIN if nothing is there.
ErrnoOr<size_t> ReceiveNow(BorrowedFd socket, std::span<std::byte> to);
// Sends all of `parts`, in pieces if the socket is full, with `fds` on the first piece.
ErrnoOr<void> SendAll(BorrowedFd socket, std::span<struct iovec> parts,
                      std::span<const BorrowedFd> fds);
// Sends one empty message that carries one descriptor, without waiting for room.
ErrnoOr<void> SendFd(BorrowedFd socket, BorrowedFd fd);
// Receives one message with one descriptor without waiting; ENOMSG if it carries none.
ErrnoOr<UniqueFd> ReceiveFd(BorrowedFd socket);
// Receives like Receive, and up to `fds.size()` descriptors.
inline constexpr size_t kMaxReceivedFds = 32;
struct Received {
  size_t bytes;
  size_t fds;
  bool fds_lost;  // there were more than had room; those are closed
};
ErrnoOr<Received> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> to,
                                 std::span<UniqueFd> fds);

// Connected pair of SEQPACKET sockets.
ErrnoOr<std::pair<UniqueFd, UniqueFd>> SeqpacketPair();
// how: SHUT_RD, SHUT_WR or SHUT_RDWR.
void Shutdown(BorrowedFd socket, int how);
// Whether it is a connected stream socket of the unix family: EINVAL, ENOTSOCK, ENOTCONN if not.
ErrnoOr<void> CheckConnectedStream(BorrowedFd socket);
// The uid under which the other end was connected, as it is mapped here.
ErrnoOr<uint32_t> PeerUid(BorrowedFd socket);
// The process that made the other end, as it is numbered here; 0 if it has no number here. Of a
// listening socket, who called listen(2).
ErrnoOr<int> PeerPid(BorrowedFd socket);
// A blocking stream socket, connected to the socket file at `path` of a process's own choice; what
// a command line names, never a client. ENAMETOOLONG past 107 bytes.
ErrnoOr<UniqueFd> ConnectToPath(const std::string& path);
// Whether it is a unix stream socket on which somebody has called listen(2): EINVAL for another
// kind, ENOTSOCK.
ErrnoOr<bool> IsListening(BorrowedFd socket);
// Another descriptor of the same open file description, O_CLOEXEC.
ErrnoOr<UniqueFd> Duplicate(BorrowedFd fd);
// Blocking or not, for the open file description.
ErrnoOr<void> SetNonBlocking(BorrowedFd fd, bool on);

// ---- host sockets, only where a policy allows them. A unix socket is named by path alone, and the
// process has no useful path to name one by: these calls name it relative to a working directory
// that is the calling thread's own, so that one whose host file system hangs keeps no other waiting.

// A non-blocking socket of `type` bound to a name that did not exist, with `mode` on the file.
ErrnoOr<UniqueFd> BindAt(BorrowedFd dir, const Name& name, int type, uint32_t mode);
// A non-blocking socket connected to the socket file that `file` (O_PATH) holds. With `creds`, the
// listener sees them as the peer's effective ids.
struct Credentials {
  uint32_t uid;
  uint32_t gid;
};
ErrnoOr<UniqueFd> ConnectTo(const ProcFds& proc_fds, BorrowedFd file, int type,
                            const Credentials* creds);
ErrnoOr<void> Listen(BorrowedFd socket, int backlog);
// Never waits: EAGAIN when nobody is there.
ErrnoOr<UniqueFd> Accept(BorrowedFd socket);

}  // namespace gofer::sys

#endif  // GOFER_SYS_SOCKET_H_
