// A counter in the kernel that one thread raises and another polls for.
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

}  // namespace gofer::sys

#endif  // GOFER_SYS_EVENT_FD_H_
