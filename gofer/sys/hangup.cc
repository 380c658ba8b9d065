#include "gofer/sys/hangup.h"

#include <poll.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

namespace {

int Poll(BorrowedFd socket, int timeout) {
  struct pollfd entry = {.fd = socket.get(), .events = POLLRDHUP, .revents = 0};
  return internal::Call("poll", [&] { return ::poll(&entry, 1, timeout); });
}

}  // namespace

void WaitForHangup(BorrowedFd socket) { Poll(socket, /*timeout=*/-1); }

bool HasHungUp(BorrowedFd socket) { return Poll(socket, /*timeout=*/0) > 0; }

}  // namespace gofer::sys
