// EdgePoll: waits until one of a few descriptors is written to anew. Nothing is read from them: an
// eventfd that a peer shares is left as it is, and a wake-up costs one system call instead of two.
//
// Owner:   borrows the descriptors, which outlive it. Threads: Wait by one; adding by any.
// Errors:  the kernel's errno. EPERM: the descriptor is of a kind that never becomes readable anew,
//          such as a regular file.
// Source:  epoll(7), EPOLLET; eventfd(2): each write is an edge.

#ifndef GOFER_SYS_EDGE_POLL_H_
#define GOFER_SYS_EDGE_POLL_H_

#include <utility>

#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

class EdgePoll {
 public:
  static ErrnoOr<EdgePoll> Create();

  // What was written before counts as written now.
  ErrnoOr<void> Add(BorrowedFd fd);
  // Returns after a write to any of them since the last Wait, or after `timeout`, or for no reason.
  void Wait(absl::Duration timeout);

 private:
  explicit EdgePoll(UniqueFd epoll) : epoll_(std::move(epoll)) {}

  UniqueFd epoll_;
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_EDGE_POLL_H_
