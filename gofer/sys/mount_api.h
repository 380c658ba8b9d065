// The mount calls of start-up: trees of mounts held by descriptor, put in place, restricted,
// pivoted into.
//
// Everything works on descriptors (open_tree, move_mount, mount_setattr), so that no path is looked
// up twice and a symlink that somebody puts in the way is never followed. Needs CAP_SYS_ADMIN over
// the mount namespace.
//
// Owner:   a tree that was cloned and not attached is dissolved when its descriptor closes.
// Threads: start-up only, before there is a second thread: the process's root and working directory
//          change.
// Errors:  the kernel's errno. ENOSYS: the kernel is older than Linux 5.12.
// Source:  open_tree(2), move_mount(2), mount_setattr(2), fsopen(2), pivot_root(2), umount2(2).

#ifndef GOFER_SYS_MOUNT_API_H_
#define GOFER_SYS_MOUNT_API_H_

#include <cstdint>
#include <string>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

enum class Recursive : bool { kNo, kYes };

// ---- trees

// A detached copy of the mount at `path`, which is looked up in the ordinary way (symlinks are
// followed).
ErrnoOr<UniqueFd> CloneTree(const char* path, Recursive recursive);
// A detached copy of the mount that `file` (O_PATH is enough) is in, with `file` as its root: `..`
// does not lead out of it.
ErrnoOr<UniqueFd> CloneTree(BorrowedFd file, Recursive recursive);
// /proc/self/fd in a mount of its own, so that `..` does not lead from it into the rest of /proc.
// It works on after /proc is gone.
ErrnoOr<UniqueFd> OpenProcSelfFdAlone();
// The same for a process that will chroot: with CAP_SYS_ADMIN. Without, it is the ordinary
// directory, from which `..` leads past a chroot.
ErrnoOr<UniqueFd> OpenProcSelfFdForChroot();
// The file at a path, symlinks followed, as O_PATH.
ErrnoOr<UniqueFd> OpenLocation(const char* path);
// A new, empty tmpfs, its root directory with mode 0755.
ErrnoOr<UniqueFd> NewTmpfs();
// Puts a detached tree onto `target`; from then on `tree` is a descriptor of the attached mount's
// root.
ErrnoOr<void> AttachTree(BorrowedFd tree, BorrowedFd target);

// ---- one mount at a path, by somebody who does not hold it

// Numbers that no other mount has: from Linux 6.8 on never, before that at the same time.
struct MountIdentity {
  uint64_t mount_id;
  uint32_t device_major;
  uint32_t device_minor;

  friend bool operator==(const MountIdentity&, const MountIdentity&) = default;
};
// Neither asks the file system, which may be one that does not answer.
ErrnoOr<MountIdentity> MountOf(BorrowedFd file);
ErrnoOr<MountIdentity> MountAt(const char* path);  // the topmost
// EBUSY while somebody uses it.
ErrnoOr<void> Unmount(const char* path);
// At once: those who use it get errors from then on, where the file system can do that.
ErrnoOr<void> UnmountByForce(const char* path);
// Writes back what the file system at `path` has been told and keeps.
ErrnoOr<void> SyncFilesystemAt(const char* path);
// Where a file is, as /proc shows it.
ErrnoOr<std::string> PathOf(BorrowedFd file);

// ---- what a mount allows; `mount` is a descriptor of its root

// MOUNT_ATTR_* of linux/mount.h. Only ever adds restrictions: what is not named stays as it is.
// `set_atime` is one of MOUNT_ATTR_RELATIME, _NOATIME, _STRICTATIME.
ErrnoOr<void> RestrictMount(BorrowedFd mount, uint64_t attributes, Recursive recursive);
ErrnoOr<void> SetAtime(BorrowedFd mount, uint64_t set_atime);
// `propagation` is one of MS_PRIVATE, MS_SLAVE, MS_UNBINDABLE.
ErrnoOr<void> SetPropagation(BorrowedFd mount, unsigned long propagation, Recursive recursive);

// ---- the process's view

// For all mounts of this namespace. MS_SLAVE: nothing that is mounted from here on shows up in the
// namespace that ours was copied from. MS_PRIVATE: nor the other way round.
ErrnoOr<void> SetPropagationOfAll(unsigned long propagation);
// `new_root`, the root of an attached mount, becomes root and working directory; the old tree is
// detached.
ErrnoOr<void> PivotInto(BorrowedFd new_root);
// The weaker way, where CAP_SYS_ADMIN is gone already.
ErrnoOr<void> ChrootInto(BorrowedFd new_root);
// CLONE_NEWNS and its kind.
ErrnoOr<void> Unshare(int flags);

}  // namespace gofer::sys

#endif  // GOFER_SYS_MOUNT_API_H_
