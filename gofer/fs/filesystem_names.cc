// Names: making, removing and moving them. Each holds the directory's op_mu exclusively.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fs {
namespace {

// What is left of a new regular file's mode after its owner was set: the kernel takes set-user-ID
// away with any chown of a regular file, and set-group-ID where the group may execute. A file made
// with the right owner from the start must not differ from one that was given it.
uint32_t ModeAfterChown(uint32_t mode) {
  mode &= 07777 & ~static_cast<uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) mode &= ~static_cast<uint32_t>(S_ISGID);
  return mode;
}

}  // namespace

bool Filesystem::IsOwn(Owner owner) const {
  return (owner.uid == kKeepId || owner.uid == own_uid_) &&
         (owner.gid == kKeepId || owner.gid == own_gid_);
}

ErrnoOr<Filesystem::NewFile> Filesystem::CreateHostFile(BorrowedFd dir, const Name& name,
                                                        uint32_t mode, Owner owner, int access) {
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  mode = ModeAfterChown(mode);
  // A file that will be somebody else's is nobody's until it is complete: 0600, then the owner,
  // then the mode.
  const uint32_t first_mode = IsOwn(owner) ? mode : 0600;
  ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] {
                     return sys::CreateExclusive(dir, name, access, first_mode);
                   }));
  const auto finish = [&]() -> ErrnoOr<NewFile> {
    ASSIGN_OR_RETURN(UniqueFd path_fd,
                     WithFdsToSpare([&] { return proc_fds_.Reopen(fd, O_PATH); }));
    ASSIGN_OR_RETURN(sys::Attr attr, sys::Statx(path_fd));
    const bool owned = (owner.uid == kKeepId || owner.uid == attr.stx_uid) &&
                       (owner.gid == kKeepId || owner.gid == attr.stx_gid);
    if (!owned) RETURN_IF_ERROR(sys::ChangeOwner(path_fd, owner.uid, owner.gid));
    if (!owned || first_mode != mode) {
      RETURN_IF_ERROR(proc_fds_.ChangeMode(path_fd, mode));
      ASSIGN_OR_RETURN(attr, sys::Statx(path_fd));
    }
    return NewFile{.fd = std::move(fd), .path_fd = std::move(path_fd), .attr = attr};
  };
  ErrnoOr<NewFile> file = finish();
  if (!file.ok()) (void)sys::Unlink(dir, name, 0);
  return file;
}

ErrnoOr<OpenEntry> Filesystem::CreateFile(Dentry& dir, const Name& name, uint32_t mode, Owner owner,
                                          int access) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  ASSIGN_OR_RETURN(NewFile file, CreateHostFile(dir_fd, name, mode, owner, access));
  ErrnoOr<Entry> entry = AddChild(dir, name, std::move(file.path_fd), file.attr);
  if (!entry.ok()) {
    (void)sys::Unlink(dir_fd, name, 0);
    return entry.error();
  }
  auto handle =
      RefPtr<Handle>::Adopt(new Handle(entry->dentry, access, std::move(file.fd), handle_fds_));
  return OpenEntry{.entry = *std::move(entry), .handle = std::move(handle)};
}

ErrnoOr<Entry> Filesystem::MakeFile(Dentry& dir, const Name& name, uint32_t mode, Owner owner) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  ASSIGN_OR_RETURN(NewFile file, CreateHostFile(dir_fd, name, mode, owner, O_RDONLY));
  ErrnoOr<Entry> entry = AddChild(dir, name, std::move(file.path_fd), file.attr);
  if (!entry.ok()) (void)sys::Unlink(dir_fd, name, 0);
  return entry;
}

ErrnoOr<Entry> Filesystem::Adopt(Dentry& dir, BorrowedFd dir_fd, const Name& name, uint32_t type,
                                 Owner owner, int undo_flags) {
  const auto finish = [&]() -> ErrnoOr<Entry> {
    ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] { return sys::OpenPath(dir_fd, name); }));
    ASSIGN_OR_RETURN(sys::Attr attr, sys::Statx(fd));
    // Somebody on the host was faster with the name: what is there now is not ours to change.
    if ((attr.stx_mode & S_IFMT) != type) return Errno(EEXIST);
    if ((owner.uid != kKeepId && owner.uid != attr.stx_uid) ||
        (owner.gid != kKeepId && owner.gid != attr.stx_gid)) {
      RETURN_IF_ERROR(sys::ChangeOwner(fd, owner.uid, owner.gid));
      ASSIGN_OR_RETURN(attr, sys::Statx(fd));
    }
    return AddChild(dir, name, std::move(fd), attr);
  };
  ErrnoOr<Entry> entry = finish();
  if (!entry.ok() && !(entry.error() == EEXIST)) (void)sys::Unlink(dir_fd, name, undo_flags);
  return entry;
}

ErrnoOr<Entry> Filesystem::MakeDir(Dentry& dir, const Name& name, uint32_t mode, Owner owner) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  // mkdir takes these bits and leaves set-group-ID to the parent; a directory keeps its mode when
  // it is given away.
  mode &= 01777;
  const bool own = IsOwn(owner);
  RETURN_IF_ERROR(sys::Mkdir(dir_fd, name, own ? mode : 0700));
  ASSIGN_OR_RETURN(Entry entry, Adopt(dir, dir_fd, name, S_IFDIR, owner, AT_REMOVEDIR));
  if (own) return entry;
  const auto finish = [&]() -> ErrnoOr<Entry> {
    ASSIGN_OR_RETURN(const PathFd fd, Pin(*entry.dentry));
    RETURN_IF_ERROR(proc_fds_.ChangeMode(fd, mode | (entry.attr.stx_mode & S_ISGID)));
    ASSIGN_OR_RETURN(entry.attr, sys::Statx(fd));
    return std::move(entry);
  };
  ErrnoOr<Entry> finished = finish();
  if (!finished.ok()) {
    (void)sys::Unlink(dir_fd, name, AT_REMOVEDIR);
    dentries_.Delete(*entry.dentry);
  }
  return finished;
}

ErrnoOr<Entry> Filesystem::MakeWhiteout(Dentry& dir, const Name& name, uint32_t mode, Owner owner) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  RETURN_IF_ERROR(sys::MakeWhiteout(dir_fd, name, mode & 07777));
  return Adopt(dir, dir_fd, name, S_IFCHR, owner, 0);
}

ErrnoOr<Entry> Filesystem::MakeSymlink(Dentry& dir, const Name& name, const SymlinkTarget& target,
                                       Owner owner) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  RETURN_IF_ERROR(sys::Symlink(target, dir_fd, name));
  return Adopt(dir, dir_fd, name, S_IFLNK, owner, 0);
}

ErrnoOr<Entry> Filesystem::MakeLink(Dentry& dir, const Name& name, Dentry& target) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  ASSIGN_OR_RETURN(const PathFd target_fd, Pin(target));
  const ScopedChange target_change(target.inode());
  RETURN_IF_ERROR(proc_fds_.Link(target_fd, dir_fd, name));
  // The name leads to the inode we hold: no need to open it by that name.
  ErrnoOr<sys::Attr> attr = sys::Statx(target_fd);
  if (!attr.ok()) {
    (void)sys::Unlink(dir_fd, name, 0);
    return attr.error();
  }
  return Entry{.dentry = dentries_.Add(dir, name.view(), RefPtr<Inode>(&target.inode())),
               .attr = *attr};
}

ErrnoOr<BoundEntry> Filesystem::Bind(Dentry& dir, const Name& name, int type, uint32_t mode,
                                     Owner owner) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  ASSIGN_OR_RETURN(UniqueFd socket,
                   WithFdsToSpare([&] { return sys::BindAt(dir_fd, name, type, mode & 07777); }));
  ASSIGN_OR_RETURN(Entry entry, Adopt(dir, dir_fd, name, S_IFSOCK, owner, 0));
  return BoundEntry{.entry = std::move(entry), .socket = std::move(socket)};
}

ErrnoOr<void> Filesystem::Unlink(Dentry& dir, const Name& name, int flags) {
  absl::MutexLock lock(&dir.dir().op_mu);
  const ScopedChange change(dir.inode());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const RefPtr<Dentry> child = dentries_.Find(dir, name.view());
  if (child) KeepReachable(*child);
  RETURN_IF_ERROR(sys::Unlink(dir_fd, name, flags));
  if (child) {
    child->inode().NoteChange();
    dentries_.Delete(*child);
  }
  return {};
}

// Which locks are taken here depends on the arguments, which clang's analysis cannot follow. Nobody
// else ever holds two op_mu; two renames lock them in the order of their addresses.
ErrnoOr<void> Filesystem::Rename(Dentry& old_dir, const Name& old_name, Dentry& new_dir,
                                 const Name& new_name,
                                 unsigned flags) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  absl::Mutex* first = &old_dir.dir().op_mu;
  absl::Mutex* second = &new_dir.dir().op_mu;
  if (std::less<>()(second, first)) std::swap(first, second);
  absl::MutexLock first_lock(first);
  absl::MutexLockMaybe second_lock(first == second ? nullptr : second);
  const ScopedChange old_change(old_dir.inode());
  const ScopedChange new_change(new_dir.inode());
  ASSIGN_OR_RETURN(const PathFd old_fd, Pin(old_dir));
  ASSIGN_OR_RETURN(const PathFd new_fd, Pin(new_dir));
  const RefPtr<Dentry> moved = dentries_.Find(old_dir, old_name.view());
  const RefPtr<Dentry> replaced = dentries_.Find(new_dir, new_name.view());
  if (replaced) KeepReachable(*replaced);
  renames_running_.fetch_add(1, std::memory_order_acq_rel);
  const auto done = absl::MakeCleanup([this] {
    renames_done_.fetch_add(1, std::memory_order_acq_rel);
    renames_running_.fetch_sub(1, std::memory_order_acq_rel);
  });
  RETURN_IF_ERROR(sys::Rename(old_fd, old_name, new_fd, new_name, flags));
  rename_count_.fetch_add(1, std::memory_order_release);
  if (moved) moved->inode().NoteChange();
  if (replaced) replaced->inode().NoteChange();

  if (moved.get() == replaced.get()) return {};  // a name onto itself, or nobody knows either
  if ((flags & RENAME_EXCHANGE) != 0) {
    if (moved && replaced) {
      dentries_.Exchange(*moved, *replaced);
    } else if (moved) {
      dentries_.Move(*moved, new_dir, new_name.view());
    } else if (replaced) {
      dentries_.Move(*replaced, old_dir, old_name.view());
    }
    return {};
  }
  // Two names of one file: the kernel does nothing, and both stay.
  if (moved && replaced && &moved->inode() == &replaced->inode()) return {};
  if (replaced) dentries_.Delete(*replaced);
  if (moved) dentries_.Move(*moved, new_dir, new_name.view());
  return {};
}

}  // namespace gofer::fs
