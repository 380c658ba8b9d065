// A counter in the kernel that one thread raises and another polls for: our own, or a peer's.
//
// Owner:   owns its descriptor. Threads: safe. Errors: only at creation.
// Source:  eventfd(2).

#ifndef GOFER_SYS_EVENT_FD_H_
#define GOFER_SYS_EVENT_FD_H_

#include <utility>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

class EventFd {
 public:
  static ErrnoOr<EventFd> Create();

  // Makes the descriptor readable. From a signal handler, too.
  void Raise() const;
  BorrowedFd fd() const { return fd_; }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

// An eventfd that a peer gave us to raise; or none, which is raised in vain.
class PeerEvent {
 public:
  PeerEvent() = default;
  explicit PeerEvent(UniqueFd fd);

  bool valid() const { return fd_.valid(); }
  // Does not wait: an eventfd that cannot take more is readable already. Whether writing waits is a
  // property that the peer shares and may change; one that makes it wait at the wrong moment keeps
  // the thread that raises, until that gets a signal.
  void Raise() const;

 private:
  UniqueFd fd_;
  bool waits_ = false;  // the peer made it without O_NONBLOCK
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_EVENT_FD_H_
