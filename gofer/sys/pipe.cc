#include "gofer/sys/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

constexpr size_t kPage = 4096;

ErrnoOr<size_t> CapacityOf(BorrowedFd pipe) {
  const int size = Call("fcntl", [&] { return ::fcntl(pipe.get(), F_GETPIPE_SZ); });
  if (size < 0) return Errno::Last();
  return static_cast<size_t>(size);
}

ErrnoOr<void> Grow(BorrowedFd pipe, size_t capacity) {
  ASSIGN_OR_RETURN(const size_t present, CapacityOf(pipe));
  if (present >= capacity) return {};
  if (Call("fcntl", [&] { return ::fcntl(pipe.get(), F_SETPIPE_SZ, static_cast<int>(capacity)); }) <
      0) {
    return Errno::Last();
  }
  return {};
}

// Nothing in it, whether somebody has it open for writing or nobody.
bool IsEmpty(ssize_t result) { return result == 0 || (result < 0 && errno == EAGAIN); }

}  // namespace

ErrnoOr<std::string> PeekPipe(BorrowedFd pipe, size_t limit) {
  int ends[2];
  if (Call("pipe2", [&] { return ::pipe2(ends, O_CLOEXEC | O_NONBLOCK); }) < 0) {
    return Errno::Last();
  }
  const UniqueFd copy(ends[0]);
  const UniqueFd copy_end(ends[1]);
  // Each stretch of the one takes a slot of the other: with as many slots one call gets all.
  ASSIGN_OR_RETURN(const size_t capacity, CapacityOf(pipe));
  RETURN_IF_ERROR(Grow(copy_end, capacity));
  const ssize_t size =
      Call("tee", [&] { return ::tee(pipe.get(), copy_end.get(), capacity, SPLICE_F_NONBLOCK); });
  if (IsEmpty(size)) return std::string();
  if (size < 0) return Errno::Last();
  if (static_cast<size_t>(size) > limit) return Errno(EFBIG);
  return DrainPipe(copy, static_cast<size_t>(size));
}

ErrnoOr<std::string> DrainPipe(BorrowedFd pipe, size_t size) {
  std::string bytes;
  char buffer[16 * kPage];
  while (bytes.size() < size) {
    const size_t want = std::min(size - bytes.size(), sizeof(buffer));
    const ssize_t got = Call("read", [&] { return ::read(pipe.get(), buffer, want); });
    if (IsEmpty(got)) break;
    if (got < 0) return Errno::Last();
    bytes.append(buffer, static_cast<size_t>(got));
  }
  return bytes;
}

ErrnoOr<void> FillPipe(BorrowedFd pipe, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        Call("write", [&] { return ::write(pipe.get(), bytes.data(), bytes.size()); });
    if (put < 0 && errno != EAGAIN) return Errno::Last();
    if (put > 0) {
      bytes.remove_prefix(static_cast<size_t>(put));
    } else {
      ASSIGN_OR_RETURN(const size_t capacity, CapacityOf(pipe));
      RETURN_IF_ERROR(Grow(pipe, capacity + std::max(bytes.size(), kPage)));
    }
  }
  return {};
}

}  // namespace gofer::sys
