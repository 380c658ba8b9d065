// Host file system calls: the only place that makes them. Each takes a held descriptor and at most
// one checked name, so no call can leave the served tree whatever the client or another host
// process does.
//
// Owner:   descriptors are owned by the caller; what is opened is returned owned, always O_CLOEXEC.
// Threads: safe. Every call can block on the host: hold no lock that others need.
// Errors:  the kernel's errno, unchanged; EINTR is retried inside.
// Units:   sizes and offsets in bytes.
// Source:  spec/security.md s.2, spec/lisafs.md s.6.5.

#ifndef GOFER_SYS_HOST_FS_H_
#define GOFER_SYS_HOST_FS_H_

#include <fcntl.h>
#include <linux/stat.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// Attributes as the kernel gives them: basic stats, birth time and mount id where it has them.
using Attr = struct ::statx;

// ---- looking

// Opens one name below a directory as O_PATH, never following a symlink and never leaving the
// directory.
ErrnoOr<UniqueFd> OpenPath(BorrowedFd dir, const Name& name);
// Attributes of what a descriptor (O_PATH too) refers to.
ErrnoOr<Attr> Statx(BorrowedFd fd);
// Attributes of one name below a directory; a symlink's own.
ErrnoOr<Attr> StatxAt(BorrowedFd dir, const Name& name);
ErrnoOr<struct statfs> StatFs(BorrowedFd fd);
// The target of a symlink held by an O_PATH descriptor; the part of `buffer` that was filled.
ErrnoOr<absl::string_view> ReadLink(BorrowedFd link, std::span<char> buffer);

// ---- file data; all on descriptors that are open for it

// Reads until `to` is full or the file ends.
ErrnoOr<size_t> PReadFull(BorrowedFd fd, std::span<std::byte> to, uint64_t offset);
// Writes until all is written. What was written before an error counts, and the error is lost, as
// in write(2).
ErrnoOr<size_t> PWriteFull(BorrowedFd fd, std::span<const std::byte> from, uint64_t offset);
ErrnoOr<void> FSync(BorrowedFd fd);
ErrnoOr<void> FTruncate(BorrowedFd fd, uint64_t size);
ErrnoOr<void> FAllocate(BorrowedFd fd, int mode, uint64_t offset, uint64_t length);
// Raw linux_dirent64 records into `buffer`; 0 at the end. EINVAL when the next record does not fit.
ErrnoOr<size_t> GetDents(BorrowedFd dir, std::span<std::byte> buffer);
ErrnoOr<void> SeekTo(BorrowedFd fd, uint64_t offset);

// ---- attributes, by an O_PATH descriptor

ErrnoOr<void> ChangeOwner(BorrowedFd fd, uint32_t uid,
                          uint32_t gid);  // 0xffffffff leaves one unchanged
// atime, then mtime; tv_nsec may be UTIME_NOW or UTIME_OMIT.
ErrnoOr<void> SetTimes(BorrowedFd fd, const struct timespec times[2]);

// ---- names in a directory

// Creates a regular file that did not exist and opens it with `access` (O_RDONLY, O_WRONLY or
// O_RDWR).
ErrnoOr<UniqueFd> CreateExclusive(BorrowedFd dir, const Name& name, int access, uint32_t mode);
// The same with further flags of open(2): what `flags` says is what the description has.
ErrnoOr<UniqueFd> CreateExclusiveWith(BorrowedFd dir, const Name& name, int flags, uint32_t mode);
ErrnoOr<void> Mkdir(BorrowedFd dir, const Name& name, uint32_t mode);
// The one device node that needs no privilege and no trust: character device 0:0, overlayfs's
// whiteout.
ErrnoOr<void> MakeWhiteout(BorrowedFd dir, const Name& name, uint32_t mode);
// Any type but a directory or symlink; `device` is makedev(3)'s.
ErrnoOr<void> MakeNode(BorrowedFd dir, const Name& name, uint32_t mode, uint64_t device);
ErrnoOr<void> Symlink(const SymlinkTarget& target, BorrowedFd dir, const Name& name);
ErrnoOr<void> Unlink(BorrowedFd dir, const Name& name, int flags);
ErrnoOr<void> Rename(BorrowedFd old_dir, const Name& old_name, BorrowedFd new_dir,
                     const Name& new_name, unsigned flags);

// ---- extended attributes, by a descriptor that is open for reading

ErrnoOr<size_t> GetXattr(BorrowedFd fd, const char* name, std::span<std::byte> value);
ErrnoOr<void> SetXattr(BorrowedFd fd, const char* name, std::span<const std::byte> value,
                       int flags);
ErrnoOr<size_t> ListXattr(BorrowedFd fd, std::span<char> names);
ErrnoOr<void> RemoveXattr(BorrowedFd fd, const char* name);

// ---- descriptors as names

// A directory of this process's own descriptors (/proc/self/fd, opened before the host tree
// disappears): the way to open, link or chmod the very file that an O_PATH descriptor holds,
// whatever its name is by now.
//
// `..` does not lead out of it when only that directory is mounted (spec/runsc-gofer-launch.md
// s.5.2).
class ProcFds {
 public:
  explicit ProcFds(UniqueFd dir) : dir_(std::move(dir)) {}

  // Opens the file anew, with a description of its own. `flags` without O_CREAT; O_CLOEXEC is
  // added. The caller has checked the type: opening a device or a FIFO has effects.
  ErrnoOr<UniqueFd> Reopen(BorrowedFd fd, int flags) const;
  // A hard link to the very inode, a symlink's too. ENOENT if its last name is gone.
  ErrnoOr<void> Link(BorrowedFd fd, BorrowedFd dir, const Name& name) const;
  // EOPNOTSUPP for a symlink.
  ErrnoOr<void> ChangeMode(BorrowedFd fd, uint32_t mode) const;

  // The name by which the kernel knows the file: absolute, as this process sees its root, and with
  // " (deleted)" behind the last one that a removed file had. A hint: it may be another by now, and
  // a file outside of the root has a path that says nothing. ENAMETOOLONG from 4096 bytes on.
  ErrnoOr<std::string> PathOf(BorrowedFd fd) const;

  // A regular file without a name, in the directory that `dir` (O_PATH too) refers to.
  ErrnoOr<UniqueFd> CreateUnnamed(BorrowedFd dir, int flags, uint32_t mode) const;

  // Extended attributes of what `fd` (O_PATH too) refers to, also of a symlink or special file. The
  // caller has checked `name` for length.
  ErrnoOr<size_t> GetXattr(BorrowedFd fd, const char* name, std::span<std::byte> value) const;
  ErrnoOr<void> SetXattr(BorrowedFd fd, const char* name, std::span<const std::byte> value,
                         int flags) const;
  ErrnoOr<size_t> ListXattr(BorrowedFd fd, std::span<char> names) const;
  ErrnoOr<void> RemoveXattr(BorrowedFd fd, const char* name) const;

  BorrowedFd dir() const { return dir_; }

 private:
  UniqueFd dir_;
};

// Opens /proc/self/fd. Only at start, while /proc is there.
ErrnoOr<UniqueFd> OpenProcSelfFd();
// Opens a directory (or a file, for a single-file export) by a path of the command line, as O_PATH;
// the last component may not be a symlink.
ErrnoOr<UniqueFd> OpenRootPath(const char* path);

}  // namespace gofer::sys

#endif  // GOFER_SYS_HOST_FS_H_
