// Open files as FUSE uses them: vectors, copies, sync, locks, flags. Listings are in
// filesystem_list.cc.

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>

#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "gofer/sys/file_io.h"
#include "gofer/sys/thread_identity.h"

namespace gofer::fs {
namespace {

// One copy_file_range may not keep a thread much longer than this takes.
constexpr uint64_t kMaxCopy = 64 << 20;
// What a client may ask an open for.
constexpr int kOpenFlags =
    O_ACCMODE | O_TRUNC | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME | O_NONBLOCK | O_DIRECTORY;
// What direct I/O is aligned to everywhere, and how much of a transfer is bounced at once.
constexpr size_t kDirectAlignment = 4096;
constexpr size_t kDirectUnit = 512;
// What of a listing has to be kept for the next entries to be looked up ahead: some sixty records.
// Less is told in one or two replies.
constexpr size_t kLongListing = 2048;
constexpr size_t kBounceBytes = 1 << 20;

// The rest of a list of buffers, moved on by what was done. The list itself is the caller's and
// stays; only the part that is current is copied.
class Rest {
 public:
  explicit Rest(std::span<const struct iovec> all) : all_(all) { Skip(); }

  bool empty() const { return all_.empty(); }
  // For one call: at most kMaxBuffers of them.
  std::span<const struct iovec> Next() {
    if (begin_ == 0) return all_.first(std::min(all_.size(), sys::kMaxBuffers));
    // The first is begun: alone, so that the others need no copy.
    part_ = {.iov_base = static_cast<char*>(all_[0].iov_base) + begin_,
             .iov_len = all_[0].iov_len - begin_};
    return std::span(&part_, 1);
  }
  void Advance(size_t size) {
    while (size > 0) {
      const size_t step = std::min(size, all_[0].iov_len - begin_);
      begin_ += step;
      size -= step;
      Skip();
    }
  }

 private:
  void Skip() {
    while (!all_.empty() && begin_ == all_[0].iov_len) {
      all_ = all_.subspan(1);
      begin_ = 0;
    }
  }

  std::span<const struct iovec> all_;
  size_t begin_ = 0;
  struct iovec part_ = {};
};

size_t SizeOf(std::span<const struct iovec> buffers) {
  size_t size = 0;
  for (const struct iovec& buffer : buffers) size += buffer.iov_len;
  return size;
}

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};
using AlignedBuffer = std::unique_ptr<std::byte, FreeDeleter>;

AlignedBuffer MakeBounce(size_t size) {
  const size_t rounded = (size + kDirectAlignment - 1) / kDirectAlignment * kDirectAlignment;
  return AlignedBuffer(static_cast<std::byte*>(std::aligned_alloc(kDirectAlignment, rounded)));
}

// Direct I/O with buffers that the host does not take as they lie: through one that it does. Only
// the memory is mended; a position or a size that does not fit is still an error.
ErrnoOr<size_t> BouncedRead(BorrowedFd fd, std::span<const struct iovec> to, uint64_t offset) {
  const AlignedBuffer bounce = MakeBounce(std::min(SizeOf(to), kBounceBytes));
  if (bounce == nullptr) return Errno(ENOMEM);
  Rest rest(to);
  size_t done = 0;
  while (!rest.empty()) {
    const size_t want = std::min(SizeOf(to) - done, kBounceBytes);
    const struct iovec part = {.iov_base = bounce.get(), .iov_len = want};
    ASSIGN_OR_RETURN(const size_t got, sys::PReadV(fd, std::span(&part, 1), offset + done, 0));
    for (size_t copied = 0; copied < got;) {
      const struct iovec next = rest.Next()[0];
      const size_t step = std::min(next.iov_len, got - copied);
      std::memcpy(next.iov_base, bounce.get() + copied, step);
      rest.Advance(step);
      copied += step;
    }
    done += got;
    if (got == 0 || got % kDirectUnit != 0) break;
  }
  return done;
}

ErrnoOr<size_t> BouncedWrite(BorrowedFd fd, std::span<const struct iovec> from, uint64_t offset,
                             int flags) {
  const AlignedBuffer bounce = MakeBounce(std::min(SizeOf(from), kBounceBytes));
  if (bounce == nullptr) return Errno(ENOMEM);
  Rest rest(from);
  size_t done = 0;
  while (!rest.empty()) {
    size_t filled = 0;
    while (!rest.empty() && filled < kBounceBytes) {
      const struct iovec next = rest.Next()[0];
      const size_t step = std::min(next.iov_len, kBounceBytes - filled);
      std::memcpy(bounce.get() + filled, next.iov_base, step);
      rest.Advance(step);
      filled += step;
    }
    const struct iovec part = {.iov_base = bounce.get(), .iov_len = filled};
    const ErrnoOr<size_t> put = sys::PWriteV(fd, std::span(&part, 1), offset + done, flags);
    if (!put.ok()) {
      if (done > 0) break;
      return put.error();
    }
    done += *put;
    if (*put < filled) break;
  }
  return done;
}

bool IsFileOrDirectory(const Dentry& dentry) {
  return dentry.type() == S_IFREG || dentry.type() == S_IFDIR;
}

}  // namespace

ErrnoOr<std::optional<sys::ScopedNoSetId>> Filesystem::GuardSetId(SetIdBits set_id,
                                                                  const Dentry& dentry,
                                                                  BorrowedFd fd) {
  std::optional<sys::ScopedNoSetId> guard;
  if (set_id == SetIdBits::kKeep || !dentry.inode().may_have_set_id()) return guard;
  ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(fd));
  dentry.inode().NoteMode(attr.stx_mode);
  if (!dentry.inode().may_have_set_id()) return guard;
  ASSIGN_OR_RETURN(sys::ScopedNoSetId taken, sys::ScopedNoSetId::Take());
  guard.emplace(std::move(taken));
  return guard;
}

// ---- attributes by an open file

ErrnoOr<sys::Attr> Filesystem::Stat(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(fd));
  handle.dentry().inode().NoteMode(attr.stx_mode);
  return attr;
}

ErrnoOr<void> Filesystem::ChangeMode(Handle& handle, uint32_t mode) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const ScopedChange change(handle.dentry().inode());
  handle.dentry().inode().NoteMode(mode);
  return proc_fds_.ChangeMode(fd, mode & 07777);
}

ErrnoOr<void> Filesystem::ChangeOwner(Handle& handle, Owner owner) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const ScopedChange change(handle.dentry().inode());
  return sys::ChangeOwner(fd, owner.uid, owner.gid);
}

ErrnoOr<void> Filesystem::SetTimes(Handle& handle, const struct timespec times[2]) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const ScopedChange change(handle.dentry().inode());
  return sys::SetTimes(fd, times);
}

ErrnoOr<void> Filesystem::Truncate(Handle& handle, uint64_t size, SetIdBits set_id) {
  if (!handle.writable()) return Errno(EINVAL);  // as ftruncate(2)
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  ASSIGN_OR_RETURN(const auto guard, GuardSetId(set_id, handle.dentry(), fd));
  return sys::FTruncate(fd, size);
}

// ---- open files

ErrnoOr<RefPtr<Handle>> Filesystem::OpenWith(Dentry& dentry, int flags, SetIdBits set_id) {
  if (dentry.type() == S_IFLNK) return Errno(ELOOP);
  if (!IsFileOrDirectory(dentry)) return Errno(EBADF);
  flags &= kOpenFlags;
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(dentry));
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const auto guard,
                   GuardSetId((flags & O_TRUNC) != 0 ? set_id : SetIdBits::kKeep, dentry, path_fd));
  ASSIGN_OR_RETURN(UniqueFd fd,
                   WithFdsToSpare([&] { return proc_fds_.Reopen(path_fd, flags | O_NOCTTY); }));
  if ((flags & O_TRUNC) != 0) dentry.inode().NoteChange();
  return RefPtr<Handle>::Adopt(
      new Handle(RefPtr<Dentry>(&dentry), flags & ~O_TRUNC, std::move(fd), handle_fds_));
}

ErrnoOr<size_t> Filesystem::ReadV(Handle& handle, std::span<const struct iovec> to, uint64_t offset,
                                  bool may_block) {
  if (!handle.readable()) return Errno(EBADF);
  if (handle.dentry().is_directory()) return Errno(EISDIR);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const bool in_memory = handle.dentry().inode().mount().kind() == MountKind::kMemory;
  const int flags = may_block || in_memory ? 0 : RWF_NOWAIT;
  Rest rest(to);
  size_t done = 0;
  while (!rest.empty()) {
    const ErrnoOr<size_t> got = sys::PReadV(fd, rest.Next(), offset + done, flags);
    if (!got.ok()) {
      // A file system that cannot say whether it would wait may wait.
      if (!may_block && got.error() == EOPNOTSUPP) return Errno(EAGAIN);
      if (handle.direct() && got.error() == EINVAL && done == 0) {
        if (!may_block) return Errno(EAGAIN);
        return BouncedRead(fd, to, offset);
      }
      return got.error();
    }
    if (*got == 0) break;
    done += *got;
    rest.Advance(*got);
    // The rest of the last block of a direct read: there is nothing behind it, and asking would be
    // an error.
    if (handle.direct() && *got % kDirectUnit != 0) break;
  }
  return done;
}

ErrnoOr<size_t> Filesystem::WriteV(Handle& handle, std::span<const struct iovec> from,
                                   uint64_t offset, bool append, SetIdBits set_id) {
  if (!handle.writable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  ASSIGN_OR_RETURN(const auto guard, GuardSetId(set_id, handle.dentry(), fd));
  const int flags = append ? RWF_APPEND : 0;
  if (append) offset = 0;
  Rest rest(from);
  size_t done = 0;
  while (!rest.empty()) {
    const ErrnoOr<size_t> put = sys::PWriteV(fd, rest.Next(), offset + done, flags);
    if (!put.ok()) {
      if (done > 0) break;
      if (handle.direct() && put.error() == EINVAL) return BouncedWrite(fd, from, offset, flags);
      return put.error();
    }
    if (*put == 0) break;
    done += *put;
    rest.Advance(*put);
  }
  return done;
}

ErrnoOr<uint64_t> Filesystem::Seek(Handle& handle, uint64_t offset, int whence) {
  if (handle.dentry().type() != S_IFREG) return Errno(EINVAL);
  if (whence < SEEK_SET || whence > SEEK_HOLE) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::Seek(fd, offset, whence);
}

ErrnoOr<size_t> Filesystem::CopyRange(Handle& from, uint64_t from_offset, Handle& to,
                                      uint64_t to_offset, uint64_t size) {
  if (!from.readable() || !to.writable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(const BorrowedFd from_fd, FdOf(from));
  ASSIGN_OR_RETURN(const BorrowedFd to_fd, FdOf(to));
  ErrnoOr<size_t> copied =
      sys::CopyFileRange(from_fd, from_offset, to_fd, to_offset, std::min(size, kMaxCopy));
  if (!copied.ok() && copied.error() == ENOSYS) return Errno(EOPNOTSUPP);
  return copied;
}

ErrnoOr<void> Filesystem::SyncData(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::FDataSync(fd);
}

ErrnoOr<void> Filesystem::Flush(Handle& handle) {
  const MountKind kind = handle.dentry().inode().mount().kind();
  const bool is_quiet =
      kind == MountKind::kLocal || kind == MountKind::kMemory || kind == MountKind::kStacked;
  if (is_quiet || !handle.writable()) return {};
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::CloseCopy(fd);
}

ErrnoOr<void> Filesystem::SyncFs(Dentry& dentry) {
  if (!IsFileOrDirectory(dentry)) return Errno(EBADF);
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(dentry));
  ASSIGN_OR_RETURN(const UniqueFd fd, WithFdsToSpare([&] {
                     return proc_fds_.Reopen(path_fd, O_RDONLY | O_NONBLOCK);
                   }));
  return sys::SyncFs(fd);
}

ErrnoOr<void> Filesystem::FLock(Handle& handle, short type) {
  int operation = LOCK_UN;
  if (type == F_RDLCK) operation = LOCK_SH;
  if (type == F_WRLCK) operation = LOCK_EX;
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const absl::MutexLock lock(&handle.flock_mu_);
  RETURN_IF_ERROR(sys::FLock(fd, operation));
  handle.flock_ = type;
  return {};
}

ErrnoOr<RefPtr<Handle>> Filesystem::OpenForLocks(Dentry& dentry) {
  if (dentry.type() == S_IFREG) {
    ErrnoOr<RefPtr<Handle>> opened = OpenWith(dentry, O_RDWR | O_NONBLOCK);
    if (opened.ok()) return opened;
    const Errno error = opened.error();
    if (!(error == EACCES || error == EPERM || error == EROFS || error == ETXTBSY)) return error;
  }
  // Good for read locks, which are all that who cannot write may set.
  return OpenWith(dentry, O_RDONLY | O_NONBLOCK);
}

ErrnoOr<LockRange> Filesystem::TestLock(Handle& handle, const LockRange& range) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  ASSIGN_OR_RETURN(const struct flock lock,
                   sys::GetOfdLock(fd, range.type, range.start, range.end));
  if (lock.l_type == F_UNLCK) return LockRange{.type = F_UNLCK, .start = 0, .end = 0};
  const auto start = static_cast<uint64_t>(lock.l_start);
  return LockRange{.type = lock.l_type,
                   .start = start,
                   .end = lock.l_len == 0 ? std::numeric_limits<int64_t>::max()
                                          : start + static_cast<uint64_t>(lock.l_len) - 1};
}

ErrnoOr<void> Filesystem::SetLock(Handle& handle, const LockRange& range) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::SetOfdLock(fd, range.type, range.start, range.end);
}

ErrnoOr<uint32_t> Filesystem::GetInodeFlags(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::GetInodeFlags(fd);
}

ErrnoOr<void> Filesystem::SetInodeFlags(Handle& handle, uint32_t flags) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const ScopedChange change(handle.dentry().inode());
  return sys::SetInodeFlags(fd, flags);
}

ErrnoOr<uint32_t> Filesystem::GetInodeVersion(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::GetInodeVersion(fd);
}

ErrnoOr<struct fsxattr> Filesystem::GetFsxattr(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::GetFsxattr(fd);
}

ErrnoOr<void> Filesystem::SetFsxattr(Handle& handle, const struct fsxattr& attributes) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const ScopedChange change(handle.dentry().inode());
  return sys::SetFsxattr(fd, attributes);
}

// ---- listings

ErrnoOr<void> Filesystem::ReadDirFrom(Handle& handle, uint64_t cookie,
                                      absl::FunctionRef<bool(const DirEntry&)> sink) {
  if (!handle.dentry().is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  RefPtr<LookAhead> unused;  // dropped after the lock
  absl::MutexLock lock(&handle.position_mu_);
  if (handle.cursor_ == nullptr) handle.cursor_ = std::make_unique<DirCursor>();
  DirCursor& cursor = *handle.cursor_;
  const InodeKey key = handle.dentry().inode().key();
  alignas(struct dirent64) std::byte spare[16 * 1024];
  const auto list = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(handle.position_mu_) -> ErrnoOr<void> {
    const bool goes_on = cursor.Start(cookie);
    if (!goes_on && handle.ahead_) handle.ahead_->Restart();
    for (;; cursor.Take()) {
      ASSIGN_OR_RETURN(const struct dirent64* const record, cursor.Peek(fd, spare));
      if (record == nullptr) return {};
      DirEntry entry = {.ino = record->d_ino,
                        .dev_major = key.dev_major,
                        .dev_minor = key.dev_minor,
                        .off = static_cast<uint64_t>(record->d_off),
                        .type = record->d_type,
                        .name = record->d_name};
      // What is above the root is none of the client's business.
      if (&handle.dentry() == root_.get() && entry.name == "..") entry.ino = key.ino;
      if (!sink(entry)) return {};
    }
  };
  const ErrnoOr<void> listed = list();
  cursor.Leave();
  if (!cursor.has_buffer()) unused = std::move(handle.ahead_);
  return listed;
}

ErrnoOr<Entry> Filesystem::LookupListed(Handle& handle, const DirEntry& entry, const Name& name,
                                        LookAhead::Helpers* helpers) {
  handle.position_mu_.AssertHeld();
  const DirCursor& cursor = *handle.cursor_;
  if (!handle.ahead_ && cursor.kept_bytes() >= kLongListing) {
    handle.ahead_ = MakeRef<LookAhead>(*this, RefPtr<Dentry>(&handle.dentry()));
  }
  if (handle.ahead_) {
    handle.ahead_->Offer(cursor, helpers);
    std::optional<Entry> found = handle.ahead_->Take(entry.off);
    if (found.has_value()) return *std::move(found);
  }
  return LookupUnopened(handle.dentry(), name);
}

RefPtr<LookAhead> Filesystem::LookAheadOf(Handle& handle) {
  if (!handle.position_mu_.TryLock()) return nullptr;
  RefPtr<LookAhead> ahead = handle.ahead_;
  handle.position_mu_.Unlock();
  return ahead;
}

}  // namespace gofer::fs
