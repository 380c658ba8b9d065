// Calls on open files beyond reading and writing one buffer: vectors, copies, sync, flags, locks.
//
// Owner:   descriptors are the caller's.
// Threads: safe. Every call can block on the host unless said otherwise: hold no lock that others
//          need.
// Errors:  the kernel's errno, unchanged; EINTR is retried inside, but for locks.
// Units:   sizes and offsets in bytes.
// Source:  spec/fuse.md s.9 and s.15; preadv2(2), copy_file_range(2), fcntl(2), ioctl_iflags(2).

#ifndef GOFER_SYS_FILE_IO_H_
#define GOFER_SYS_FILE_IO_H_

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// The most buffers that one call takes (the kernel's UIO_MAXIOV).
inline constexpr size_t kMaxBuffers = 1024;

// One call each: what was moved may be less than asked for. `flags` are RWF_*. The offset is
// checked: EINVAL past INT64_MAX, where the kernel would take it for its current position.
ErrnoOr<size_t> PReadV(BorrowedFd fd, std::span<const struct iovec> to, uint64_t offset, int flags);
ErrnoOr<size_t> PWriteV(BorrowedFd fd, std::span<const struct iovec> from, uint64_t offset,
                        int flags);
ErrnoOr<uint64_t> Seek(BorrowedFd fd, uint64_t offset, int whence);
ErrnoOr<size_t> CopyFileRange(BorrowedFd from, uint64_t from_offset, BorrowedFd to,
                              uint64_t to_offset, size_t size);
ErrnoOr<void> FDataSync(BorrowedFd fd);
// The whole file system that the file is on.
ErrnoOr<void> SyncFs(BorrowedFd fd);
// Closes a copy of the descriptor: what a file system does at every close (NFS writes back and
// reports errors), it does now.
ErrnoOr<void> CloseCopy(BorrowedFd fd);

// ---- locks. Never block.

// An open-file-description lock of `type` F_RDLCK, F_WRLCK or F_UNLCK; both ends included,
// INT64_MAX means the end of the file wherever it is. EAGAIN if another holds it.
ErrnoOr<void> SetOfdLock(BorrowedFd fd, short type, uint64_t start, uint64_t end);
// The lock that would be in the way; `type` is F_UNLCK if there is none.
ErrnoOr<struct flock> GetOfdLock(BorrowedFd fd, short type, uint64_t start, uint64_t end);
// flock(2); `operation` is LOCK_SH, LOCK_EX or LOCK_UN. EWOULDBLOCK if another holds it.
ErrnoOr<void> FLock(BorrowedFd fd, int operation);

// ---- inode flags (lsattr, project ids). ENOTTY where the file system has none.

ErrnoOr<uint32_t> GetInodeFlags(BorrowedFd fd);
ErrnoOr<void> SetInodeFlags(BorrowedFd fd, uint32_t flags);
ErrnoOr<uint32_t> GetInodeVersion(BorrowedFd fd);
ErrnoOr<struct fsxattr> GetFsxattr(BorrowedFd fd);
ErrnoOr<void> SetFsxattr(BorrowedFd fd, const struct fsxattr& attributes);

}  // namespace gofer::sys

#endif  // GOFER_SYS_FILE_IO_H_
