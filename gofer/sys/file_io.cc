#include "gofer/sys/file_io.h"

#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>

#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

ErrnoOr<size_t> Counted(ssize_t size) {
  if (size < 0) return Errno::Last();
  return static_cast<size_t>(size);
}

int BufferCount(std::span<const struct iovec> buffers) {
  return static_cast<int>(std::min(buffers.size(), kMaxBuffers));
}

ErrnoOr<struct flock> LockOf(short type, uint64_t start, uint64_t end) {
  if (start > kMaxOffset || end > kMaxOffset || start > end) return Errno(EINVAL);
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = static_cast<off_t>(start);
  lock.l_len = end == kMaxOffset ? 0 : static_cast<off_t>(end - start + 1);
  return lock;
}

}  // namespace

ErrnoOr<size_t> PReadV(BorrowedFd fd, std::span<const struct iovec> to, uint64_t offset,
                       int flags) {
  if (offset > kMaxOffset) return Errno(EINVAL);
  return Counted(Call("preadv2", [&] {
    return ::preadv64v2(fd.get(), to.data(), BufferCount(to), static_cast<off64_t>(offset), flags);
  }));
}

ErrnoOr<size_t> PWriteV(BorrowedFd fd, std::span<const struct iovec> from, uint64_t offset,
                        int flags) {
  if (offset > kMaxOffset) return Errno(EINVAL);
  return Counted(Call("pwritev2", [&] {
    return ::pwritev64v2(fd.get(), from.data(), BufferCount(from), static_cast<off64_t>(offset),
                         flags);
  }));
}

ErrnoOr<uint64_t> Seek(BorrowedFd fd, uint64_t offset, int whence) {
  const off64_t at =
      Call("lseek", [&] { return ::lseek64(fd.get(), static_cast<off64_t>(offset), whence); });
  if (at < 0) return Errno::Last();
  return static_cast<uint64_t>(at);
}

ErrnoOr<size_t> CopyFileRange(BorrowedFd from, uint64_t from_offset, BorrowedFd to,
                              uint64_t to_offset, size_t size) {
  if (from_offset > kMaxOffset || to_offset > kMaxOffset) return Errno(EINVAL);
  off64_t in = static_cast<off64_t>(from_offset);
  off64_t out = static_cast<off64_t>(to_offset);
  return Counted(Call("copy_file_range",
                      [&] { return ::copy_file_range(from.get(), &in, to.get(), &out, size, 0); }));
}

ErrnoOr<void> FDataSync(BorrowedFd fd) {
  return Done(Call("fdatasync", [&] { return ::fdatasync(fd.get()); }));
}

ErrnoOr<void> SyncFs(BorrowedFd fd) {
  return Done(Call("syncfs", [&] { return ::syncfs(fd.get()); }));
}

ErrnoOr<void> CloseCopy(BorrowedFd fd) {
  const int copy = Call("fcntl", [&] { return ::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0); });
  if (copy < 0) return Errno::Last();
  // The number is free whatever close says; EINTR is no error of the file.
  if (::close(copy) < 0 && errno != EINTR) return Errno::Last();
  return {};
}

ErrnoOr<void> SetOfdLock(BorrowedFd fd, short type, uint64_t start, uint64_t end) {
  ErrnoOr<struct flock> lock = LockOf(type, start, end);
  if (!lock.ok()) return lock.error();
  return Done(Call("fcntl", [&] { return ::fcntl(fd.get(), F_OFD_SETLK, &*lock); }));
}

ErrnoOr<struct flock> GetOfdLock(BorrowedFd fd, short type, uint64_t start, uint64_t end) {
  ErrnoOr<struct flock> lock = LockOf(type, start, end);
  if (!lock.ok()) return lock.error();
  if (Call("fcntl", [&] { return ::fcntl(fd.get(), F_OFD_GETLK, &*lock); }) < 0) {
    return Errno::Last();
  }
  return lock;
}

ErrnoOr<void> FLock(BorrowedFd fd, int operation) {
  return Done(Call("flock", [&] { return ::flock(fd.get(), operation | LOCK_NB); }));
}

ErrnoOr<uint32_t> GetInodeFlags(BorrowedFd fd) {
  int flags = 0;  // the kernel moves an int, whatever the command's number says
  if (Call("ioctl", [&] { return ::ioctl(fd.get(), FS_IOC_GETFLAGS, &flags); }) < 0) {
    return Errno::Last();
  }
  return static_cast<uint32_t>(flags);
}

ErrnoOr<void> SetInodeFlags(BorrowedFd fd, uint32_t flags) {
  int value = static_cast<int>(flags);
  return Done(Call("ioctl", [&] { return ::ioctl(fd.get(), FS_IOC_SETFLAGS, &value); }));
}

ErrnoOr<uint32_t> GetInodeVersion(BorrowedFd fd) {
  int version = 0;
  if (Call("ioctl", [&] { return ::ioctl(fd.get(), FS_IOC_GETVERSION, &version); }) < 0) {
    return Errno::Last();
  }
  return static_cast<uint32_t>(version);
}

ErrnoOr<struct fsxattr> GetFsxattr(BorrowedFd fd) {
  struct fsxattr attributes = {};
  if (Call("ioctl", [&] { return ::ioctl(fd.get(), FS_IOC_FSGETXATTR, &attributes); }) < 0) {
    return Errno::Last();
  }
  return attributes;
}

ErrnoOr<void> SetFsxattr(BorrowedFd fd, const struct fsxattr& attributes) {
  return Done(Call("ioctl", [&] { return ::ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes); }));
}

}  // namespace gofer::sys
