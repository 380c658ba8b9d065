#include "gofer/sys/event_fd.h"

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

}  // namespace gofer::sys
