#include "gofer/sys/poll.h"

#include <poll.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

ErrnoOr<std::vector<size_t>> WaitReadable(std::span<const BorrowedFd> fds, absl::Duration timeout) {
  std::vector<struct pollfd> polled;
  for (const BorrowedFd fd : fds)
    polled.push_back({.fd = fd.get(), .events = POLLIN, .revents = 0});
  const struct timespec limit = absl::ToTimespec(timeout);
  const struct timespec* const at_most = timeout == absl::InfiniteDuration() ? nullptr : &limit;
  if (internal::Call("ppoll",
                     [&] { return ::ppoll(polled.data(), polled.size(), at_most, nullptr); }) < 0) {
    return Errno::Last();
  }
  std::vector<size_t> ready;
  for (size_t i = 0; i < polled.size(); ++i) {
    if (polled[i].revents != 0) ready.push_back(i);
  }
  return ready;
}

}  // namespace gofer::sys
