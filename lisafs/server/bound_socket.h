// BoundSocket: a host socket that the server has bound for a client, and the name it is bound to.
//
// Owner:   kept by RefPtr in an FdTable; the client has a duplicate of the socket, so the listening
//          goes on for as long as either holds it. Threads: safe.

#ifndef LISAFS_SERVER_BOUND_SOCKET_H_
#define LISAFS_SERVER_BOUND_SOCKET_H_

#include <atomic>
#include <cstdint>
#include <utility>

#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/dentry.h"
#include "gofer/sys/socket.h"

namespace lisafs {

class BoundSocket : public gofer::RefCounted<BoundSocket> {
 public:
  // `type` is SOCK_STREAM, ...
  BoundSocket(gofer::RefPtr<gofer::fs::Dentry> dentry, gofer::UniqueFd socket, uint32_t type)
      : dentry_(std::move(dentry)), socket_(std::move(socket)), type_(type) {}

  gofer::fs::Dentry& dentry() const { return *dentry_; }
  gofer::BorrowedFd socket() const { return socket_; }
  uint32_t type() const { return type_; }

  // Clients may connect to it.
  gofer::ErrnoOr<void> Listen(uint32_t backlog) {
    RETURN_IF_ERROR(gofer::sys::Listen(socket_, static_cast<int>(backlog)));
    backlog_.store(backlog, std::memory_order_relaxed);
    listening_.store(true, std::memory_order_release);
    return {};
  }
  bool listening() const { return listening_.load(std::memory_order_acquire); }
  uint32_t backlog() const { return backlog_.load(std::memory_order_relaxed); }

 private:
  friend class gofer::RefCounted<BoundSocket>;
  ~BoundSocket() = default;

  const gofer::RefPtr<gofer::fs::Dentry> dentry_;
  const gofer::UniqueFd socket_;
  const uint32_t type_;
  std::atomic<uint32_t> backlog_{0};
  std::atomic<bool> listening_{false};
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_BOUND_SOCKET_H_
