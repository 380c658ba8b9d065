// BoundSocket: a host socket that the server has bound for a client, and the name it is bound to.
//
// Owner:   kept by RefPtr in an FdTable; the client has a duplicate of the socket, so the listening
//          goes on for as long as either holds it. Threads: immutable.

#ifndef LISAFS_SERVER_BOUND_SOCKET_H_
#define LISAFS_SERVER_BOUND_SOCKET_H_

#include <utility>

#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/dentry.h"

namespace lisafs {

class BoundSocket : public gofer::RefCounted<BoundSocket> {
 public:
  BoundSocket(gofer::RefPtr<gofer::fs::Dentry> dentry, gofer::UniqueFd socket)
      : dentry_(std::move(dentry)), socket_(std::move(socket)) {}

  gofer::fs::Dentry& dentry() const { return *dentry_; }
  gofer::BorrowedFd socket() const { return socket_; }

 private:
  friend class gofer::RefCounted<BoundSocket>;
  ~BoundSocket() = default;

  const gofer::RefPtr<gofer::fs::Dentry> dentry_;
  const gofer::UniqueFd socket_;
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_BOUND_SOCKET_H_
