#include "gofer/sys/event_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "gofer/sys/call.h"

namespace gofer::sys {

ErrnoOr<EventFd> EventFd::Create() {
  UniqueFd fd(internal::Call("eventfd2", [] { return ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }));
  if (!fd.valid()) return Errno::Last();
  return EventFd(std::move(fd));
}

void EventFd::Raise() const {
  const uint64_t one = 1;
  // EAGAIN: the counter is full, so the descriptor is readable already.
  [[maybe_unused]] const ssize_t put = ::write(fd_.get(), &one, sizeof(one));
}

PeerEvent::PeerEvent(UniqueFd fd) : fd_(std::move(fd)) {
  if (!fd_.valid()) return;
  const int flags = internal::Call("fcntl", [&] { return ::fcntl(fd_.get(), F_GETFL); });
  waits_ = flags >= 0 && (flags & O_NONBLOCK) == 0;
}

void PeerEvent::Raise() const {
  if (!fd_.valid()) return;
  if (waits_) {
    struct pollfd room = {.fd = fd_.get(), .events = POLLOUT, .revents = 0};
    if (::poll(&room, 1, 0) <= 0) return;
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t put = ::write(fd_.get(), &one, sizeof(one));
}

}  // namespace gofer::sys
