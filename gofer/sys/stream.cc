#include "gofer/sys/stream.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/socket.h"

namespace gofer::sys {
namespace {

using internal::Call;

constexpr size_t kPieceBytes = 256 * 1024;

// Until something can be moved.
ErrnoOr<void> Wait(BorrowedFd stream, short events, BorrowedFd given_up) {
  struct pollfd polled[] = {{.fd = stream.get(), .events = events, .revents = 0},
                            {.fd = given_up.get(), .events = POLLIN, .revents = 0}};
  if (Call("ppoll", [&] { return ::ppoll(polled, 2, nullptr, nullptr); }) < 0) {
    return Errno::Last();
  }
  if (polled[1].revents != 0) return Errno(ECANCELED);
  return {};
}

}  // namespace

ErrnoOr<void> WriteStream(BorrowedFd stream, std::span<const std::byte> bytes,
                          BorrowedFd given_up) {
  RETURN_IF_ERROR(SetNonBlocking(stream, true));
  while (!bytes.empty()) {
    RETURN_IF_ERROR(Wait(stream, POLLOUT, given_up));
    const ssize_t written =
        Call("write", [&] { return ::write(stream.get(), bytes.data(), bytes.size()); });
    if (written >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(written));
    } else if (errno != EAGAIN) {
      return Errno::Last();
    }
  }
  return {};
}

ErrnoOr<std::string> ReadStream(BorrowedFd stream, size_t limit, BorrowedFd given_up) {
  RETURN_IF_ERROR(SetNonBlocking(stream, true));
  std::string bytes;
  for (;;) {
    RETURN_IF_ERROR(Wait(stream, POLLIN, given_up));
    const size_t had = bytes.size();
    bytes.resize(had + kPieceBytes);
    const ssize_t got =
        Call("read", [&] { return ::read(stream.get(), bytes.data() + had, kPieceBytes); });
    if (got < 0 && errno != EAGAIN) return Errno::Last();
    bytes.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) return bytes;
    if (bytes.size() > limit) return Errno(EFBIG);
  }
}

}  // namespace gofer::sys
