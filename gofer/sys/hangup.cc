#include "gofer/sys/hangup.h"

#include <poll.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

void WaitForHangup(BorrowedFd socket) {
  struct pollfd entry = {.fd = socket.get(), .events = POLLRDHUP, .revents = 0};
  internal::Call("poll", [&] { return ::poll(&entry, 1, /*timeout=*/-1); });
}

}  // namespace gofer::sys
