#include "gofer/sys/host_fs.h"

#include <dirent.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <limits>

#include "gofer/sys/call.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6; the same number on every architecture
#endif

namespace gofer::sys {
namespace {

using internal::Call;

constexpr unsigned kAttrMask = STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID;
// The kernel moves at most this much in one call.
constexpr size_t kMaxTransfer = 0x7ffff000;
constexpr uint64_t kMaxOffset = std::numeric_limits<int64_t>::max();

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> Opened(int64_t fd) {
  if (fd < 0) return Errno::Last();
  return UniqueFd(static_cast<int>(fd));
}

ErrnoOr<size_t> Counted(ssize_t size) {
  if (size < 0) return Errno::Last();
  return static_cast<size_t>(size);
}

// A descriptor's number as a name below /proc/self/fd. Digits by hand: snprintf would be a tenth of
// an open.
class FdName {
 public:
  explicit FdName(BorrowedFd fd) {
    unsigned number = static_cast<unsigned>(fd.get());
    do {
      *--begin_ = static_cast<char>('0' + number % 10);
      number /= 10;
    } while (number > 0);
  }
  FdName(const FdName&) = delete;
  FdName& operator=(const FdName&) = delete;

  const char* c_str() const { return begin_; }

 private:
  char text_[12] = {};
  char* begin_ = text_ + sizeof(text_) - 1;
};

}  // namespace

ErrnoOr<UniqueFd> OpenPath(BorrowedFd dir, const Name& name) {
  struct open_how how = {};
  how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  // EAGAIN: a rename or mount elsewhere raced with RESOLVE_BENEATH's check. The kernel asks for
  //         another try.
  for (int tries = 0;; ++tries) {
    const int64_t fd = Call("openat2", [&] {
      return syscall(SYS_openat2, dir.get(), name.c_str(), &how, sizeof(how));
    });
    if (fd >= 0 || errno != EAGAIN || tries == 100) return Opened(fd);
  }
}

ErrnoOr<Attr> Statx(BorrowedFd fd) {
  Attr attr;
  if (Call("statx", [&] { return ::statx(fd.get(), "", AT_EMPTY_PATH, kAttrMask, &attr); }) < 0) {
    return Errno::Last();
  }
  return attr;
}

ErrnoOr<Attr> StatxAt(BorrowedFd dir, const Name& name) {
  Attr attr;
  if (Call("statx", [&] {
        return ::statx(dir.get(), name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kAttrMask,
                       &attr);
      }) < 0) {
    return Errno::Last();
  }
  return attr;
}

ErrnoOr<struct statfs> StatFs(BorrowedFd fd) {
  struct statfs result;
  if (Call("fstatfs", [&] { return ::fstatfs(fd.get(), &result); }) < 0) return Errno::Last();
  return result;
}

ErrnoOr<absl::string_view> ReadLink(BorrowedFd link, std::span<char> buffer) {
  const ssize_t size = Call(
      "readlinkat", [&] { return ::readlinkat(link.get(), "", buffer.data(), buffer.size()); });
  if (size < 0) return Errno::Last();
  return absl::string_view(buffer.data(), static_cast<size_t>(size));
}

ErrnoOr<size_t> PReadFull(BorrowedFd fd, std::span<std::byte> to, uint64_t offset) {
  if (offset > kMaxOffset) return Errno(EINVAL);
  size_t done = 0;
  while (done < to.size()) {
    const size_t want = std::min(to.size() - done, kMaxTransfer);
    const ssize_t got = Call("pread64", [&] {
      return ::pread64(fd.get(), to.data() + done, want, static_cast<off64_t>(offset + done));
    });
    if (got < 0) return Errno::Last();
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

ErrnoOr<size_t> PWriteFull(BorrowedFd fd, std::span<const std::byte> from, uint64_t offset) {
  if (offset > kMaxOffset) return Errno(EINVAL);
  size_t done = 0;
  while (done < from.size()) {
    const size_t want = std::min(from.size() - done, kMaxTransfer);
    const ssize_t put = Call("pwrite64", [&] {
      return ::pwrite64(fd.get(), from.data() + done, want, static_cast<off64_t>(offset + done));
    });
    if (put < 0) {
      if (done > 0) break;
      return Errno::Last();
    }
    if (put == 0) break;
    done += static_cast<size_t>(put);
  }
  return done;
}

ErrnoOr<void> FSync(BorrowedFd fd) {
  return Done(Call("fsync", [&] { return ::fsync(fd.get()); }));
}

ErrnoOr<void> FTruncate(BorrowedFd fd, uint64_t size) {
  if (size > kMaxOffset) return Errno(EINVAL);
  return Done(
      Call("ftruncate", [&] { return ::ftruncate64(fd.get(), static_cast<off64_t>(size)); }));
}

ErrnoOr<void> FAllocate(BorrowedFd fd, int mode, uint64_t offset, uint64_t length) {
  if (offset > kMaxOffset || length > kMaxOffset) return Errno(EINVAL);
  return Done(Call("fallocate", [&] {
    return ::fallocate64(fd.get(), mode, static_cast<off64_t>(offset),
                         static_cast<off64_t>(length));
  }));
}

ErrnoOr<size_t> GetDents(BorrowedFd dir, std::span<std::byte> buffer) {
  return Counted(Call("getdents64", [&] {
    return static_cast<ssize_t>(syscall(SYS_getdents64, dir.get(), buffer.data(), buffer.size()));
  }));
}

ErrnoOr<void> SeekTo(BorrowedFd fd, uint64_t offset) {
  return Done(
      Call("lseek", [&] { return ::lseek64(fd.get(), static_cast<off64_t>(offset), SEEK_SET); }));
}

ErrnoOr<void> ChangeOwner(BorrowedFd fd, uint32_t uid, uint32_t gid) {
  return Done(Call("fchownat", [&] {
    return ::fchownat(fd.get(), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  }));
}

ErrnoOr<void> SetTimes(BorrowedFd fd, const struct timespec times[2]) {
  return Done(Call("utimensat", [&] { return ::utimensat(fd.get(), "", times, AT_EMPTY_PATH); }));
}

ErrnoOr<UniqueFd> CreateExclusive(BorrowedFd dir, const Name& name, int access, uint32_t mode) {
  // O_EXCL follows no symlink. O_NOFOLLOW would say so twice, and show in the flags of the donated
  // descriptor.
  return Opened(Call("openat", [&] {
    return ::openat(dir.get(), name.c_str(), access | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC,
                    mode);
  }));
}

ErrnoOr<UniqueFd> CreateExclusiveWith(BorrowedFd dir, const Name& name, int flags, uint32_t mode) {
  return Opened(Call("openat", [&] {
    return ::openat(dir.get(), name.c_str(), flags | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  }));
}

ErrnoOr<void> Mkdir(BorrowedFd dir, const Name& name, uint32_t mode) {
  return Done(Call("mkdirat", [&] { return ::mkdirat(dir.get(), name.c_str(), mode); }));
}

ErrnoOr<void> MakeWhiteout(BorrowedFd dir, const Name& name, uint32_t mode) {
  return Done(Call("mknodat", [&] {
    return ::mknodat(dir.get(), name.c_str(), S_IFCHR | mode, makedev(0, 0));
  }));
}

ErrnoOr<void> MakeNode(BorrowedFd dir, const Name& name, uint32_t mode, uint64_t device) {
  return Done(Call("mknodat", [&] { return ::mknodat(dir.get(), name.c_str(), mode, device); }));
}

ErrnoOr<void> Symlink(const SymlinkTarget& target, BorrowedFd dir, const Name& name) {
  return Done(
      Call("symlinkat", [&] { return ::symlinkat(target.c_str(), dir.get(), name.c_str()); }));
}

ErrnoOr<void> Unlink(BorrowedFd dir, const Name& name, int flags) {
  return Done(Call("unlinkat", [&] { return ::unlinkat(dir.get(), name.c_str(), flags); }));
}

ErrnoOr<void> Rename(BorrowedFd old_dir, const Name& old_name, BorrowedFd new_dir,
                     const Name& new_name, unsigned flags) {
  return Done(Call("renameat2", [&] {
    return ::renameat2(old_dir.get(), old_name.c_str(), new_dir.get(), new_name.c_str(), flags);
  }));
}

ErrnoOr<size_t> GetXattr(BorrowedFd fd, const char* name, std::span<std::byte> value) {
  return Counted(
      Call("fgetxattr", [&] { return ::fgetxattr(fd.get(), name, value.data(), value.size()); }));
}

ErrnoOr<void> SetXattr(BorrowedFd fd, const char* name, std::span<const std::byte> value,
                       int flags) {
  return Done(Call("fsetxattr",
                   [&] { return ::fsetxattr(fd.get(), name, value.data(), value.size(), flags); }));
}

ErrnoOr<size_t> ListXattr(BorrowedFd fd, std::span<char> names) {
  return Counted(
      Call("flistxattr", [&] { return ::flistxattr(fd.get(), names.data(), names.size()); }));
}

ErrnoOr<void> RemoveXattr(BorrowedFd fd, const char* name) {
  return Done(Call("fremovexattr", [&] { return ::fremovexattr(fd.get(), name); }));
}

ErrnoOr<UniqueFd> ProcFds::Reopen(BorrowedFd fd, int flags) const {
  const FdName name(fd);
  return Opened(
      Call("openat", [&] { return ::openat(dir_.get(), name.c_str(), flags | O_CLOEXEC); }));
}

ErrnoOr<void> ProcFds::Link(BorrowedFd fd, BorrowedFd dir, const Name& name) const {
  const FdName from(fd);
  return Done(Call("linkat", [&] {
    return ::linkat(dir_.get(), from.c_str(), dir.get(), name.c_str(), AT_SYMLINK_FOLLOW);
  }));
}

ErrnoOr<void> ProcFds::ChangeMode(BorrowedFd fd, uint32_t mode) const {
  // One call on the descriptor where the kernel has fchmodat2 (6.6), a walk through /proc/self/fd
  // where not.
  static std::atomic<bool> have_fchmodat2{true};
  if (have_fchmodat2.load(std::memory_order_relaxed)) {
    const int64_t result = Call(
        "fchmodat2", [&] { return syscall(SYS_fchmodat2, fd.get(), "", mode, AT_EMPTY_PATH); });
    if (result == 0 || errno != ENOSYS) return Done(result);
    have_fchmodat2.store(false, std::memory_order_relaxed);
  }
  const FdName name(fd);
  return Done(Call("fchmodat", [&] { return ::fchmodat(dir_.get(), name.c_str(), mode, 0); }));
}

ErrnoOr<std::string> ProcFds::PathOf(BorrowedFd fd) const {
  const FdName name(fd);
  // One byte more than any path that the kernel gives here.
  std::string path(PATH_MAX + 1, '\0');
  const ssize_t size = Call("readlinkat", [&] {
    return ::readlinkat(dir_.get(), name.c_str(), path.data(), path.size());
  });
  if (size < 0) return Errno::Last();
  path.resize(static_cast<size_t>(size));
  return path;
}

ErrnoOr<UniqueFd> OpenProcSelfFd() {
  return Opened(
      Call("open", [&] { return ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
}

ErrnoOr<UniqueFd> OpenRootPath(const char* path) {
  return Opened(Call("open", [&] { return ::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC); }));
}

}  // namespace gofer::sys
