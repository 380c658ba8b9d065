#include "gofer/sys/mount_api.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u  // Linux 6.8; stx_mnt_id then is one that is never used again
#endif

namespace gofer::sys {
namespace {

using internal::Call;

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> Opened(int64_t fd) {
  if (fd < 0) return Errno::Last();
  return UniqueFd(static_cast<int>(fd));
}

ErrnoOr<UniqueFd> OpenTree(int dir, const char* path, unsigned flags, Recursive recursive) {
  flags |= OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
  if (recursive == Recursive::kYes) flags |= AT_RECURSIVE;
  return Opened(Call("open_tree", [&] { return syscall(SYS_open_tree, dir, path, flags); }));
}

ErrnoOr<void> SetAttributes(BorrowedFd mount, struct mount_attr attributes, Recursive recursive) {
  const unsigned flags = AT_EMPTY_PATH | (recursive == Recursive::kYes ? AT_RECURSIVE : 0u);
  return Done(Call("mount_setattr", [&] {
    return syscall(SYS_mount_setattr, mount.get(), "", flags, &attributes, sizeof(attributes));
  }));
}

ErrnoOr<MountIdentity> Identify(int dir, const char* path, int flags) {
  struct statx attr;
  RETURN_IF_ERROR(Done(Call("statx", [&] {
    return ::statx(dir, path, flags | AT_STATX_DONT_SYNC, STATX_MNT_ID | STATX_MNT_ID_UNIQUE,
                   &attr);
  })));
  return MountIdentity{attr.stx_mnt_id, attr.stx_dev_major, attr.stx_dev_minor};
}

}  // namespace

ErrnoOr<UniqueFd> CloneTree(const char* path, Recursive recursive) {
  return OpenTree(AT_FDCWD, path, 0, recursive);
}

ErrnoOr<UniqueFd> CloneTree(BorrowedFd file, Recursive recursive) {
  return OpenTree(file.get(), "", AT_EMPTY_PATH, recursive);
}

ErrnoOr<UniqueFd> OpenProcSelfFdAlone() {
  ASSIGN_OR_RETURN(const UniqueFd tree, CloneTree("/proc/self/fd", Recursive::kNo));
  return Opened(Call(
      "openat", [&] { return ::openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
}

ErrnoOr<UniqueFd> OpenProcSelfFdForChroot() {
  ErrnoOr<UniqueFd> alone = OpenProcSelfFdAlone();
  if (alone.ok() || !(alone.error() == EPERM)) return alone;
  return Opened(
      Call("open", [] { return ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC); }));
}

ErrnoOr<UniqueFd> OpenLocation(const char* path) {
  return Opened(Call("open", [&] { return ::open(path, O_PATH | O_CLOEXEC); }));
}

ErrnoOr<UniqueFd> NewTmpfs() {
  ASSIGN_OR_RETURN(
      const UniqueFd context,
      Opened(Call("fsopen", [] { return syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC); })));
  const auto configure = [&](unsigned command, const char* key, const char* value) {
    return Done(Call("fsconfig",
                     [&] { return syscall(SYS_fsconfig, context.get(), command, key, value, 0); }));
  };
  RETURN_IF_ERROR(configure(FSCONFIG_SET_STRING, "mode", "0755"));
  RETURN_IF_ERROR(configure(FSCONFIG_CMD_CREATE, nullptr, nullptr));
  constexpr unsigned kAttributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  return Opened(Call("fsmount", [&] {
    return syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, kAttributes);
  }));
}

ErrnoOr<void> AttachTree(BorrowedFd tree, BorrowedFd target) {
  constexpr unsigned kFlags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
  return Done(Call("move_mount", [&] {
    return syscall(SYS_move_mount, tree.get(), "", target.get(), "", kFlags);
  }));
}

ErrnoOr<MountIdentity> MountOf(BorrowedFd file) { return Identify(file.get(), "", AT_EMPTY_PATH); }

ErrnoOr<MountIdentity> MountAt(const char* path) {
  return Identify(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT);
}

ErrnoOr<void> Unmount(const char* path) {
  return Done(Call("umount2", [&] { return ::umount2(path, UMOUNT_NOFOLLOW); }));
}

ErrnoOr<void> UnmountByForce(const char* path) {
  constexpr int kFlags = UMOUNT_NOFOLLOW | MNT_FORCE | MNT_DETACH;
  return Done(Call("umount2", [&] { return ::umount2(path, kFlags); }));
}

ErrnoOr<void> SyncFilesystemAt(const char* path) {
  ASSIGN_OR_RETURN(const UniqueFd directory, Opened(Call("open", [&] {
                     return ::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
                   })));
  return Done(Call("syncfs", [&] { return ::syncfs(directory.get()); }));
}

ErrnoOr<std::string> PathOf(BorrowedFd file) {
  const std::string link = absl::StrCat("/proc/self/fd/", file.get());
  char path[PATH_MAX];
  const ssize_t size =
      Call("readlink", [&] { return ::readlink(link.c_str(), path, sizeof(path)); });
  if (size < 0) return Errno::Last();
  if (size == sizeof(path)) return Errno(ENAMETOOLONG);
  return std::string(path, static_cast<size_t>(size));
}

ErrnoOr<void> RestrictMount(BorrowedFd mount, uint64_t attributes, Recursive recursive) {
  struct mount_attr change = {};
  change.attr_set = attributes;
  return SetAttributes(mount, change, recursive);
}

ErrnoOr<void> SetAtime(BorrowedFd mount, uint64_t set_atime) {
  struct mount_attr change = {};
  change.attr_set = set_atime;
  change.attr_clr = MOUNT_ATTR__ATIME;
  return SetAttributes(mount, change, Recursive::kNo);
}

ErrnoOr<void> SetPropagation(BorrowedFd mount, unsigned long propagation, Recursive recursive) {
  struct mount_attr change = {};
  change.propagation = propagation;
  return SetAttributes(mount, change, recursive);
}

ErrnoOr<void> SetPropagationOfAll(unsigned long propagation) {
  return Done(
      Call("mount", [&] { return ::mount(nullptr, "/", nullptr, propagation | MS_REC, nullptr); }));
}

ErrnoOr<void> PivotInto(BorrowedFd new_root) {
  RETURN_IF_ERROR(Done(Call("fchdir", [&] { return ::fchdir(new_root.get()); })));
  // The old root is stacked on the new one, where "." finds it and nobody else does.
  RETURN_IF_ERROR(Done(Call("pivot_root", [] { return syscall(SYS_pivot_root, ".", "."); })));
  RETURN_IF_ERROR(Done(Call("umount2", [] { return ::umount2(".", MNT_DETACH); })));
  return Done(Call("chdir", [] { return ::chdir("/"); }));
}

ErrnoOr<void> ChrootInto(BorrowedFd new_root) {
  RETURN_IF_ERROR(Done(Call("fchdir", [&] { return ::fchdir(new_root.get()); })));
  RETURN_IF_ERROR(Done(Call("chroot", [] { return ::chroot("."); })));
  return Done(Call("chdir", [] { return ::chdir("/"); }));
}

ErrnoOr<void> Unshare(int flags) {
  return Done(Call("unshare", [&] { return ::unshare(flags); }));
}

}  // namespace gofer::sys
