#include "gofer/sys/edge_poll.h"

#include <sys/epoll.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

using internal::Call;

ErrnoOr<EdgePoll> EdgePoll::Create() {
  UniqueFd epoll(Call("epoll_create1", [] { return ::epoll_create1(EPOLL_CLOEXEC); }));
  if (!epoll.valid()) return Errno::Last();
  return EdgePoll(std::move(epoll));
}

ErrnoOr<void> EdgePoll::Add(BorrowedFd fd) {
  struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.fd = fd.get()}};
  if (Call("epoll_ctl",
           [&] { return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd.get(), &event); }) < 0) {
    return Errno::Last();
  }
  return {};
}

void EdgePoll::Wait(absl::Duration timeout) {
  const int timeout_ms = timeout == absl::InfiniteDuration()
                             ? -1
                             : static_cast<int>(absl::ToInt64Milliseconds(timeout));
  struct epoll_event events[4];
  Call("epoll_wait", [&] { return ::epoll_wait(epoll_.get(), events, 4, timeout_ms); });
}

}  // namespace gofer::sys
