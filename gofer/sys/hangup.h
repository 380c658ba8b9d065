// Whether the other end of a socket has gone, and waiting for it to go.
//
// Owner:   the socket is the caller's and must outlive the call. Threads: safe.
// Source:  poll(2): POLLRDHUP, POLLHUP.

#ifndef GOFER_SYS_HANGUP_H_
#define GOFER_SYS_HANGUP_H_

#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// Returns when the peer has closed or half-closed its end, or our own end has been shut down; data
// that arrives does not end the wait.
void WaitForHangup(BorrowedFd socket);
// Whether it would return at once.
bool HasHungUp(BorrowedFd socket);

}  // namespace gofer::sys

#endif  // GOFER_SYS_HANGUP_H_
