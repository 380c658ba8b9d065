#include "gofer/sys/socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/thread_identity.h"

namespace gofer::sys {
namespace {

using internal::Call;

template <size_t kFds>
struct ControlBufferFor {
  alignas(struct cmsghdr) char bytes[CMSG_SPACE(kFds * sizeof(int))];
};
using ControlBuffer = ControlBufferFor<kMaxDonatedFds>;

// Puts `fds` into `message` as one SCM_RIGHTS record held in `control`.
void AttachFds(std::span<const BorrowedFd> fds, ControlBuffer& control, struct msghdr& message) {
  if (fds.empty()) return;
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  std::memset(control.bytes, 0, message.msg_controllen);
  struct cmsghdr* const record = CMSG_FIRSTHDR(&message);
  record->cmsg_level = SOL_SOCKET;
  record->cmsg_type = SCM_RIGHTS;
  record->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
  for (size_t i = 0; i < fds.size(); ++i) {
    const int fd = fds[i].get();
    std::memcpy(CMSG_DATA(record) + i * sizeof(int), &fd, sizeof(int));
  }
}

// Takes the descriptors out of a received message, and counts them; those that find no place in
// `fds` are closed.
size_t DetachFds(struct msghdr& message, std::span<UniqueFd> fds) {
  size_t count = 0;
  for (struct cmsghdr* record = CMSG_FIRSTHDR(&message); record != nullptr;
       record = CMSG_NXTHDR(&message, record)) {
    if (record->cmsg_level != SOL_SOCKET || record->cmsg_type != SCM_RIGHTS) continue;
    const size_t received = (record->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < received; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(record) + i * sizeof(int), sizeof(int));
      UniqueFd owned(fd);
      if (count < fds.size()) fds[count] = std::move(owned);
      ++count;
    }
  }
  return count;
}

// Moves `parts` past the first `sent` bytes.
void Consume(std::span<struct iovec>& parts, size_t sent) {
  while (!parts.empty() && sent >= parts.front().iov_len) {
    sent -= parts.front().iov_len;
    parts = parts.subspan(1);
  }
  if (!parts.empty()) {
    parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + sent;
    parts.front().iov_len -= sent;
  }
}

// Switches this thread's effective ids for as long as it lives. Raw calls: the C library's would
// switch every thread. A switch that fails is ignored, as in the reference; one that cannot be
// undone ends the process, since everything after it would run as somebody else.
class ScopedCredentials {
 public:
  explicit ScopedCredentials(const Credentials* creds) {
    if (creds == nullptr) return;
    gid_switched_ = syscall(SYS_setresgid, -1, creds->gid, -1) == 0;
    uid_switched_ = syscall(SYS_setresuid, -1, creds->uid, -1) == 0;
  }
  ~ScopedCredentials() {
    if (uid_switched_ && syscall(SYS_setresuid, -1, own_uid_, -1) != 0) abort();
    if (gid_switched_ && syscall(SYS_setresgid, -1, own_gid_, -1) != 0) abort();
  }
  ScopedCredentials(const ScopedCredentials&) = delete;
  ScopedCredentials& operator=(const ScopedCredentials&) = delete;

 private:
  const uid_t own_uid_ = geteuid();
  const gid_t own_gid_ = getegid();
  bool uid_switched_ = false;
  bool gid_switched_ = false;
};

ErrnoOr<UniqueFd> NewSocket(int type) {
  UniqueFd socket(static_cast<int>(
      Call("socket", [&] { return ::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); })));
  if (!socket.valid()) return Errno::Last();
  return socket;
}

struct sockaddr_un RelativeAddress(const char* name) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
  return address;
}

ErrnoOr<struct ucred> PeerCredentials(BorrowedFd socket) {
  struct ucred peer = {};
  socklen_t size = sizeof(peer);
  if (Call("getsockopt",
           [&] { return ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size); }) < 0) {
    return Errno::Last();
  }
  return peer;
}

ErrnoOr<size_t> ReceiveWithFlags(BorrowedFd socket, std::span<std::byte> to, int flags) {
  const ssize_t size =
      Call("recvfrom", [&] { return ::recv(socket.get(), to.data(), to.size(), flags); });
  if (size < 0) return Errno::Last();
  return static_cast<size_t>(size);
}

}  // namespace

ErrnoOr<size_t> Receive(BorrowedFd socket, std::span<std::byte> to) {
  return ReceiveWithFlags(socket, to, 0);
}

ErrnoOr<size_t> ReceiveNow(BorrowedFd socket, std::span<std::byte> to) {
  return ReceiveWithFlags(socket, to, MSG_DONTWAIT);
}

ErrnoOr<void> SendAll(BorrowedFd socket, std::span<struct iovec> parts,
                      std::span<const BorrowedFd> fds) {
  ControlBuffer control;
  while (!parts.empty()) {
    struct msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    AttachFds(fds, control, message);
    const ssize_t sent =
        Call("sendmsg", [&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL); });
    if (sent < 0) return Errno::Last();
    Consume(parts, static_cast<size_t>(sent));
    fds = {};
  }
  return {};
}

ErrnoOr<void> SendFd(BorrowedFd socket, BorrowedFd fd) {
  ControlBuffer control;
  struct msghdr message = {};
  AttachFds(std::span(&fd, 1), control, message);
  if (Call("sendmsg",
           [&] { return ::sendmsg(socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT); }) < 0) {
    return Errno::Last();
  }
  return {};
}

ErrnoOr<UniqueFd> ReceiveFd(BorrowedFd socket) {
  UniqueFd fd;
  ControlBuffer control;
  struct msghdr message = {};
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(sizeof(int));
  if (Call("recvmsg", [&] {
        return ::recvmsg(socket.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
      }) < 0) {
    return Errno::Last();
  }
  if (DetachFds(message, std::span(&fd, 1)) == 0) return Errno(ENOMSG);
  return fd;
}

ErrnoOr<Received> ReceiveWithFds(BorrowedFd socket, std::span<std::byte> to,
                                 std::span<UniqueFd> fds) {
  ControlBufferFor<kMaxReceivedFds> control;
  struct iovec part = {.iov_base = to.data(), .iov_len = to.size()};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  fds = fds.first(std::min(fds.size(), kMaxReceivedFds));
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
  }
  const ssize_t size =
      Call("recvmsg", [&] { return ::recvmsg(socket.get(), &message, MSG_CMSG_CLOEXEC); });
  if (size < 0) return Errno::Last();
  const size_t count = DetachFds(message, fds);
  return Received{.bytes = static_cast<size_t>(size),
                  .fds = std::min(count, fds.size()),
                  .fds_lost = count > fds.size() || (message.msg_flags & MSG_CTRUNC) != 0};
}

ErrnoOr<std::pair<UniqueFd, UniqueFd>> SeqpacketPair() {
  int fds[2];
  if (Call("socketpair",
           [&] { return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds); }) < 0) {
    return Errno::Last();
  }
  return std::pair(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

void Shutdown(BorrowedFd socket, int how) { ::shutdown(socket.get(), how); }

ErrnoOr<void> CheckConnectedStream(BorrowedFd socket) {
  int type = 0;
  socklen_t size = sizeof(type);
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_TYPE, &type, &size) < 0) return Errno::Last();
  struct sockaddr_un peer;
  size = sizeof(peer);
  if (::getpeername(socket.get(), reinterpret_cast<struct sockaddr*>(&peer), &size) < 0)
    return Errno::Last();
  if (type != SOCK_STREAM || peer.sun_family != AF_UNIX) return Errno(EINVAL);
  return {};
}

ErrnoOr<uint32_t> PeerUid(BorrowedFd socket) {
  ASSIGN_OR_RETURN(const struct ucred peer, PeerCredentials(socket));
  return peer.uid;
}

ErrnoOr<int> PeerPid(BorrowedFd socket) {
  ASSIGN_OR_RETURN(const struct ucred peer, PeerCredentials(socket));
  return peer.pid;
}

ErrnoOr<UniqueFd> ConnectToPath(const std::string& path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Errno(ENAMETOOLONG);
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd socket(Call("socket", [] { return ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); }));
  if (!socket.valid()) return Errno::Last();
  if (Call("connect", [&] {
        return ::connect(socket.get(), reinterpret_cast<const struct sockaddr*>(&address),
                         sizeof(address));
      }) < 0) {
    return Errno::Last();
  }
  return socket;
}

ErrnoOr<bool> IsListening(BorrowedFd socket) {
  int values[3];
  const int options[] = {SO_DOMAIN, SO_TYPE, SO_ACCEPTCONN};
  for (size_t i = 0; i < 3; ++i) {
    socklen_t size = sizeof(values[i]);
    if (::getsockopt(socket.get(), SOL_SOCKET, options[i], &values[i], &size) < 0)
      return Errno::Last();
  }
  if (values[0] != AF_UNIX || values[1] != SOCK_STREAM) return Errno(EINVAL);
  return values[2] != 0;
}

ErrnoOr<UniqueFd> Duplicate(BorrowedFd fd) {
  UniqueFd copy(Call("fcntl", [&] { return ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0); }));
  if (!copy.valid()) return Errno::Last();
  return copy;
}

ErrnoOr<void> SetNonBlocking(BorrowedFd fd, bool on) {
  const int flags = Call("fcntl", [&] { return ::fcntl(fd.get(), F_GETFL); });
  if (flags < 0) return Errno::Last();
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted == flags) return {};
  if (Call("fcntl", [&] { return ::fcntl(fd.get(), F_SETFL, wanted); }) < 0) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> BindAt(BorrowedFd dir, const Name& name, int type, uint32_t mode) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A name of 108 bytes or more fits no address, however it is reached.
  if (name.view().size() >= sizeof(address.sun_path)) return Errno(EINVAL);
  std::memcpy(address.sun_path, name.c_str(), name.view().size());
  ASSIGN_OR_RETURN(UniqueFd socket, NewSocket(type));
  // bind(2) gives the file the socket's mode, so it never exists with a wider one.
  if (Call("fchmod", [&] { return ::fchmod(socket.get(), mode); }) < 0) return Errno::Last();
  RETURN_IF_ERROR(ChangeOwnDirectory(dir));
  if (Call("bind", [&] {
        return ::bind(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address));
      }) < 0) {
    return Errno::Last();
  }
  return socket;
}

ErrnoOr<UniqueFd> ConnectTo(const ProcFds& proc_fds, BorrowedFd file, int type,
                            const Credentials* creds) {
  char name[16];
  std::snprintf(name, sizeof(name), "./%d", file.get());
  const struct sockaddr_un address = RelativeAddress(name);
  ASSIGN_OR_RETURN(UniqueFd socket, NewSocket(type));
  RETURN_IF_ERROR(ChangeOwnDirectory(proc_fds.dir()));
  const ScopedCredentials as(creds);
  if (Call("connect", [&] {
        return ::connect(socket.get(), reinterpret_cast<const struct sockaddr*>(&address),
                         sizeof(address));
      }) < 0) {
    return Errno::Last();
  }
  return socket;
}

ErrnoOr<void> Listen(BorrowedFd socket, int backlog) {
  if (Call("listen", [&] { return ::listen(socket.get(), backlog); }) < 0) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> Accept(BorrowedFd socket) {
  // The client has the same open file description and may have made it blocking, and may be doing
  // so right now. Two things to undo between two system calls of ours, and the second ends the wait
  // that the first would begin.
  const struct timeval patience = {.tv_sec = 1, .tv_usec = 0};
  if (Call("setsockopt", [&] {
        return ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
      }) < 0) {
    return Errno::Last();
  }
  if (const ErrnoOr<void> set = SetNonBlocking(socket, true); !set.ok()) return set.error();
  UniqueFd accepted(static_cast<int>(Call("accept4", [&] {
    return ::accept4(socket.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  })));
  if (!accepted.valid()) return Errno::Last();
  return accepted;
}

}  // namespace gofer::sys
