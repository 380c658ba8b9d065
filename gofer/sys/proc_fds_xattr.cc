// Extended attributes by O_PATH descriptors. Linux 6.13 takes a directory and a name; before, the
// only way is a path, and the one path that leads to a descriptor from inside an empty root is its
// number in a working directory of this thread's own.

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/thread_identity.h"

// The same numbers on every architecture.
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

namespace gofer::sys {
namespace {

using internal::Call;

// linux/xattr.h
struct XattrArgs {
  uint64_t value;
  uint32_t size;
  uint32_t flags;
};

// Cleared by the first ENOSYS. Where a seccomp filter of somebody else answers EPERM instead, the
// attribute's own EPERM cannot be told from it: that host has no way in.
std::atomic<bool> have_xattrat{true};

struct FdNumber {
  explicit FdNumber(BorrowedFd fd) { std::snprintf(text, sizeof(text), "%d", fd.get()); }
  char text[12];
};

// `at` is the call on a directory and a name, `here` the one on a name in the working directory.
template <typename At, typename Here>
ErrnoOr<size_t> Either(const char* call_at, const char* call_here, BorrowedFd dir, At&& at,
                       Here&& here) {
  if (have_xattrat.load(std::memory_order_relaxed)) {
    const int64_t result = Call(call_at, at);
    if (result >= 0) return static_cast<size_t>(result);
    if (errno != ENOSYS) return Errno::Last();
    have_xattrat.store(false, std::memory_order_relaxed);
  }
  RETURN_IF_ERROR(ChangeOwnDirectory(dir));
  const int64_t result = Call(call_here, here);
  if (result < 0) return Errno::Last();
  return static_cast<size_t>(result);
}

}  // namespace

ErrnoOr<size_t> ProcFds::GetXattr(BorrowedFd fd, const char* name,
                                  std::span<std::byte> value) const {
  const FdNumber number(fd);
  XattrArgs args = {reinterpret_cast<uintptr_t>(value.data()), static_cast<uint32_t>(value.size()),
                    0};
  return Either(
      "getxattrat", "getxattr", dir_,
      [&] {
        return syscall(SYS_getxattrat, dir_.get(), number.text, 0, name, &args, sizeof(args));
      },
      [&] { return ::getxattr(number.text, name, value.data(), value.size()); });
}

ErrnoOr<void> ProcFds::SetXattr(BorrowedFd fd, const char* name, std::span<const std::byte> value,
                                int flags) const {
  const FdNumber number(fd);
  XattrArgs args = {reinterpret_cast<uintptr_t>(value.data()), static_cast<uint32_t>(value.size()),
                    static_cast<uint32_t>(flags)};
  RETURN_IF_ERROR(Either(
      "setxattrat", "setxattr", dir_,
      [&] {
        return syscall(SYS_setxattrat, dir_.get(), number.text, 0, name, &args, sizeof(args));
      },
      [&] { return ::setxattr(number.text, name, value.data(), value.size(), flags); }));
  return {};
}

ErrnoOr<size_t> ProcFds::ListXattr(BorrowedFd fd, std::span<char> names) const {
  const FdNumber number(fd);
  return Either(
      "listxattrat", "listxattr", dir_,
      [&] {
        return syscall(SYS_listxattrat, dir_.get(), number.text, 0, names.data(), names.size());
      },
      [&] { return ::listxattr(number.text, names.data(), names.size()); });
}

ErrnoOr<void> ProcFds::RemoveXattr(BorrowedFd fd, const char* name) const {
  const FdNumber number(fd);
  RETURN_IF_ERROR(Either(
      "removexattrat", "removexattr", dir_,
      [&] { return syscall(SYS_removexattrat, dir_.get(), number.text, 0, name); },
      [&] { return ::removexattr(number.text, name); }));
  return {};
}

ErrnoOr<UniqueFd> ProcFds::CreateUnnamed(BorrowedFd dir, int flags, uint32_t mode) const {
  const FdNumber number(dir);
  const int fd = Call("openat", [&] {
    return ::openat(dir_.get(), number.text, flags | O_TMPFILE | O_CLOEXEC, mode);
  });
  if (fd < 0) return Errno::Last();
  return UniqueFd(fd);
}

}  // namespace gofer::sys
