// Names: making, removing and moving them. Each is a DirChange; what it needs that may lie on
// another file system than the directory, which may hang, it gets before.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/dir_lock.h"
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

// Stale ones are on none.
bool AreOnTwoMounts(const Inode& a, const Inode& b) {
  return !a.lost() && !b.lost() && a.key().mnt_id != b.key().mnt_id;
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
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
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
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  ASSIGN_OR_RETURN(NewFile file, CreateHostFile(dir_fd, name, mode, owner, O_RDONLY));
  ErrnoOr<Entry> entry = AddChild(dir, name, std::move(file.path_fd), file.attr);
  if (!entry.ok()) (void)sys::Unlink(dir_fd, name, 0);
  return entry;
}

ErrnoOr<Entry> Filesystem::Adopt(Dentry& dir, BorrowedFd dir_fd, const Name& name, uint32_t type,
                                 Owner owner, std::optional<uint32_t> mode) {
  const auto finish = [&]() -> ErrnoOr<Entry> {
    ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] { return sys::OpenPath(dir_fd, name); }));
    ASSIGN_OR_RETURN(sys::Attr attr, sys::Statx(fd));
    // Somebody on the host was faster with the name: what is there now is not ours to change.
    if ((attr.stx_mode & S_IFMT) != type) return Errno(EEXIST);
    const bool owned = (owner.uid == kKeepId || owner.uid == attr.stx_uid) &&
                       (owner.gid == kKeepId || owner.gid == attr.stx_gid);
    if (!owned) RETURN_IF_ERROR(sys::ChangeOwner(fd, owner.uid, owner.gid));
    if (mode.has_value()) {
      RETURN_IF_ERROR(proc_fds_.ChangeMode(fd, *mode | (attr.stx_mode & S_ISGID)));
    }
    if (!owned || mode.has_value()) {
      ASSIGN_OR_RETURN(attr, sys::Statx(fd));
    }
    return AddChild(dir, name, std::move(fd), attr);
  };
  ErrnoOr<Entry> entry = finish();
  if (!entry.ok() && !(entry.error() == EEXIST)) {
    (void)sys::Unlink(dir_fd, name, type == S_IFDIR ? AT_REMOVEDIR : 0);
  }
  return entry;
}

ErrnoOr<Entry> Filesystem::MakeDir(Dentry& dir, const Name& name, uint32_t mode, Owner owner) {
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  // mkdir takes these bits and leaves set-group-ID to the parent; a directory keeps its mode when
  // it is given away.
  mode &= 01777;
  const bool own = IsOwn(owner);
  RETURN_IF_ERROR(sys::Mkdir(dir_fd, name, own ? mode : 0700));
  return Adopt(dir, dir_fd, name, S_IFDIR, owner, own ? std::nullopt : std::optional(mode));
}

ErrnoOr<Entry> Filesystem::MakeWhiteout(Dentry& dir, const Name& name, uint32_t mode, Owner owner) {
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  RETURN_IF_ERROR(sys::MakeWhiteout(dir_fd, name, mode & 07777));
  return Adopt(dir, dir_fd, name, S_IFCHR, owner);
}

ErrnoOr<Entry> Filesystem::MakeSymlink(Dentry& dir, const Name& name, const SymlinkTarget& target,
                                       Owner owner) {
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  RETURN_IF_ERROR(sys::Symlink(target, dir_fd, name));
  return Adopt(dir, dir_fd, name, S_IFLNK, owner);
}

ErrnoOr<Entry> Filesystem::MakeLink(Dentry& dir, const Name& name, Dentry& target) {
  ASSIGN_OR_RETURN(const PathFd target_fd, Pin(target));
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
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
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(UniqueFd socket,
                   WithFdsToSpare([&] { return sys::BindAt(dir_fd, name, type, mode & 07777); }));
  ErrnoOr<UniqueFd> copy = WithFdsToSpare([&] { return sys::Duplicate(socket); });
  if (!copy.ok()) {
    (void)sys::Unlink(dir_fd, name, 0);
    return copy.error();
  }
  ASSIGN_OR_RETURN(Entry entry, Adopt(dir, dir_fd, name, S_IFSOCK, owner));
  return BoundEntry{
      .entry = std::move(entry), .socket = std::move(socket), .copy = *std::move(copy)};
}

Filesystem::Removal Filesystem::PrepareRemoval(const Dentry& dir, RefPtr<Dentry> dentry) {
  Removal removal = {.dentry = std::move(dentry), .pinned = std::nullopt};
  if (!removal.dentry) return removal;
  const Inode& inode = removal.dentry->inode();
  if (inode.has_handle()) {
    // Nothing of ours keeps the host from releasing it (NFS would keep it under another name).
    inodes_.CloseFd(inode);
  } else if (!AreOnTwoMounts(inode, dir.inode())) {  // what is mounted there is not removed
    // Best effort: if the descriptor cannot be had now, the file was out of reach before.
    if (ErrnoOr<PathFd> pinned = Pin(*removal.dentry); pinned.ok()) {
      removal.pinned.emplace(*std::move(pinned));
    }
  }
  return removal;
}

void Filesystem::Renew(Removal& removal, const Dentry& dir, const Name& name) {
  RefPtr<Dentry> present = dentries_.Find(dir, name.view());
  if (present == removal.dentry) return;
  removal.pinned.reset();  // while the Dentry still keeps the Inode
  removal = PrepareRemoval(dir, std::move(present));
}

void Filesystem::Finish(const Removal& removal) {
  dentries_.Delete(*removal.dentry);
  // Nobody finds it any more. If nobody has, it dies with its name.
  if (removal.pinned.has_value() && removal.dentry->shared()) removal.dentry->inode().KeepFd();
}

ErrnoOr<void> Filesystem::Unlink(Dentry& dir, const Name& name, int flags) {
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  Removal removal = PrepareRemoval(dir, dentries_.Find(dir, name.view()));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  Renew(removal, dir, name);
  RETURN_IF_ERROR(sys::Unlink(dir_fd, name, flags));
  if (removal.dentry) {
    removal.dentry->inode().NoteChange();
    Finish(removal);
  }
  return {};
}

ErrnoOr<void> Filesystem::Rename(Dentry& old_dir, const Name& old_name, Dentry& new_dir,
                                 const Name& new_name, unsigned flags) {
  // As the host would say, but without a lock: who waits for the one of a directory on a file
  // system that hangs would keep the other from those who use it.
  if (AreOnTwoMounts(old_dir.inode(), new_dir.inode())) return Errno(EXDEV);
  ASSIGN_OR_RETURN(const PathFd old_fd, Pin(old_dir));
  ASSIGN_OR_RETURN(const PathFd new_fd, Pin(new_dir));
  Removal removal = PrepareRemoval(new_dir, dentries_.Find(new_dir, new_name.view()));
  RefPtr<Dentry> moved;  // dropped after the locks, as the other
  const DirChange names(old_dir, new_dir);
  const ScopedChange old_change(old_dir.inode());
  const ScopedChange new_change(new_dir.inode());
  Renew(removal, new_dir, new_name);
  const RefPtr<Dentry>& replaced = removal.dentry;
  moved = dentries_.Find(old_dir, old_name.view());
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
  if (replaced) Finish(removal);
  if (moved) dentries_.Move(*moved, new_dir, new_name.view());
  return {};
}

}  // namespace gofer::fs
