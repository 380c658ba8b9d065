// Making files for FUSE clients, so that they come out as if the client's user had made them on the
// host: owner and group, set-group-ID directories, umask or default ACL, set-id bits.
//
// By default a file is made as this process's own, closed to everybody else, then given to its
// owner, and its mode comes last: no file of this process is ever open to others or set-user-ID.
// With a default ACL on the directory the host computes the access, so the file is made with the
// access that was asked for, and only set-id bits come last. With switch_credentials the thread
// becomes the user and the host does it all.
//
// Source:  spec/fuse.md s.7.4, s.7.5 and s.10; inode_init_owner() and posix_acl_create() of Linux;
//          CVE-2022-0358.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/fs/dir_lock.h"
#include "gofer/fs/filesystem.h"
#include "gofer/sys/thread_identity.h"

namespace gofer::fs {
namespace {

constexpr uint32_t kSetId = S_ISUID | S_ISGID;
// What an open file may be created with besides its access mode.
constexpr int kCreateFlags = O_ACCMODE | O_DIRECT | O_DSYNC | O_SYNC | O_NOATIME | O_NONBLOCK;

// The thread as the client's user, for one call.
struct AsUser {
  sys::ScopedUmask umask;
  sys::ScopedIdentity identity;

  static ErrnoOr<AsUser> Take(const Creation& creation) {
    ASSIGN_OR_RETURN(sys::ScopedUmask umask, sys::ScopedUmask::Take(creation.umask));
    ASSIGN_OR_RETURN(sys::ScopedIdentity identity,
                     sys::ScopedIdentity::Take({.uid = creation.owner.uid,
                                                .gid = creation.owner.gid,
                                                .group = creation.group,
                                                .keep_dac_override = creation.trust_permissions}));
    return AsUser{.umask = std::move(umask), .identity = std::move(identity)};
  }
};

}  // namespace

struct Filesystem::Plan {
  // Whose the file is to be; kKeepId: as the host makes it.
  Owner owner;
  // What the host is called with.
  uint32_t first_mode = 0;
  // What the file's mode is to be, or those of its bits that the host was not told when it computes
  // the rest.
  uint32_t last_mode = 0;
  bool host_computes_mode = false;
  std::optional<AsUser> user;
};

ErrnoOr<Filesystem::Plan> Filesystem::PlanCreation(BorrowedFd dir_fd, const Creation& creation) {
  Plan plan;
  const uint32_t mode = creation.mode & 07777;
  if (creation.switch_credentials) {
    ASSIGN_OR_RETURN(AsUser user, AsUser::Take(creation));
    plan.user.emplace(std::move(user));
    plan.first_mode = mode;
    plan.host_computes_mode = true;
    return plan;
  }
  const bool own = IsOwn(creation.owner);
  if (own && creation.umask == 0) {
    plan.first_mode = mode;
    plan.host_computes_mode = true;
    return plan;
  }
  const ErrnoOr<size_t> acl = proc_fds_.GetXattr(dir_fd, "system.posix_acl_default", {});
  plan.host_computes_mode = acl.ok() && *acl > 0;
  const uint32_t masked = plan.host_computes_mode ? mode : mode & ~creation.umask;
  if (own) {
    plan.first_mode = masked;
    plan.host_computes_mode = true;
    return plan;
  }
  ASSIGN_OR_RETURN(const sys::Attr dir, sys::Statx(dir_fd));
  plan.owner = creation.owner;
  plan.last_mode = masked;
  if ((dir.stx_mode & S_ISGID) != 0) {
    plan.owner.gid = kKeepId;  // the directory's, which it has already
    // Only members may make a program that runs as the group.
    const bool member = creation.owner.uid == 0 || creation.owner.gid == dir.stx_gid ||
                        creation.group == dir.stx_gid;
    if (!member && (mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
      plan.last_mode &= ~uint32_t{S_ISGID};
    }
  }
  plan.first_mode = plan.host_computes_mode ? masked & ~kSetId : 0600;
  return plan;
}

ErrnoOr<sys::Attr> Filesystem::GiveAway(BorrowedFd fd, const Plan& plan, const Creation& creation) {
  ASSIGN_OR_RETURN(sys::Attr attr, sys::Statx(fd));
  if (creation.switch_credentials || IsOwn(creation.owner)) return attr;
  const bool is_symlink = (attr.stx_mode & S_IFMT) == S_IFLNK;
  const bool is_directory = (attr.stx_mode & S_IFMT) == S_IFDIR;
  uint32_t mode = plan.host_computes_mode ? (attr.stx_mode & 01777) | (plan.last_mode & kSetId)
                                          : plan.last_mode;
  // A directory is not made with set-id bits; it inherits one.
  if (is_directory) mode = (mode & 01777) | (attr.stx_mode & S_ISGID);
  RETURN_IF_ERROR(sys::ChangeOwner(fd, plan.owner.uid, plan.owner.gid));
  if (!is_symlink && (!plan.host_computes_mode || (mode & kSetId) != 0)) {
    RETURN_IF_ERROR(proc_fds_.ChangeMode(fd, mode));
  }
  return sys::Statx(fd);
}

ErrnoOr<OpenEntry> Filesystem::CreateFile(Dentry& dir, const Name& name, int flags,
                                          const Creation& creation) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  flags &= kCreateFlags;
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(Plan plan, PlanCreation(dir_fd, creation));
  ErrnoOr<UniqueFd> made = WithFdsToSpare(
      [&] { return sys::CreateExclusiveWith(dir_fd, name, flags | O_NOCTTY, plan.first_mode); });
  plan.user.reset();
  if (!made.ok()) return made.error();
  ErrnoOr<OpenEntry> entry = AddOpened(dir, name, *std::move(made), flags, plan, creation);
  if (!entry.ok()) (void)sys::Unlink(dir_fd, name, 0);
  return entry;
}

ErrnoOr<OpenEntry> Filesystem::AddOpened(Dentry& dir, const Name& name, UniqueFd fd, int flags,
                                         const Plan& plan, const Creation& creation) {
  ASSIGN_OR_RETURN(const sys::Attr attr, GiveAway(fd, plan, creation));
  // What is found is the very file that was made, whatever its name leads to by now.
  RefPtr<Inode> inode = use_handles_ ? nullptr : inodes_.InternUnopened(attr);
  if (!inode) {
    ASSIGN_OR_RETURN(UniqueFd path_fd,
                     WithFdsToSpare([&] { return proc_fds_.Reopen(fd, O_PATH); }));
    ASSIGN_OR_RETURN(inode, Intern(std::move(path_fd), attr));
  }
  RefPtr<Dentry> dentry = dentries_.Add(dir, name.view(), std::move(inode));
  auto handle = RefPtr<Handle>::Adopt(new Handle(dentry, flags, std::move(fd), handle_fds_));
  return OpenEntry{.entry = {.dentry = std::move(dentry), .attr = attr},
                   .handle = std::move(handle)};
}

ErrnoOr<OpenEntry> Filesystem::CreateUnnamed(Dentry& dir, int flags, const Creation& creation) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  const int open_flags = (flags & kCreateFlags) | (flags & O_EXCL);
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  ASSIGN_OR_RETURN(Plan plan, PlanCreation(dir_fd, creation));
  ErrnoOr<UniqueFd> made =
      WithFdsToSpare([&] { return proc_fds_.CreateUnnamed(dir_fd, open_flags, plan.first_mode); });
  plan.user.reset();
  if (!made.ok()) {
    // What says so where the file system has no such files.
    return made.error() == EISDIR ? Errno(EOPNOTSUPP) : made.error();
  }
  ASSIGN_OR_RETURN(const sys::Attr attr, GiveAway(*made, plan, creation));
  ASSIGN_OR_RETURN(UniqueFd path_fd,
                   WithFdsToSpare([&] { return proc_fds_.Reopen(*made, O_PATH); }));
  ASSIGN_OR_RETURN(RefPtr<Inode> inode, Intern(std::move(path_fd), attr));
  inode->KeepFd();  // there is no name to reopen it by
  RefPtr<Dentry> dentry = dentries_.AddDeleted(dir, "", std::move(inode));
  auto handle = RefPtr<Handle>::Adopt(
      new Handle(dentry, flags & kCreateFlags, *std::move(made), handle_fds_));
  return OpenEntry{.entry = {.dentry = std::move(dentry), .attr = attr},
                   .handle = std::move(handle)};
}

template <typename Make>
ErrnoOr<Entry> Filesystem::MakeByName(Dentry& dir, const Name& name, uint32_t type,
                                      const Creation& creation, Make&& make) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  const DirChange names(dir);
  const ScopedChange change(dir.inode());
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(Plan plan, PlanCreation(dir_fd, creation));
  const ErrnoOr<void> made = make(BorrowedFd(dir_fd), plan.first_mode);
  plan.user.reset();
  if (!made.ok()) return made.error();
  const auto finish = [&]() -> ErrnoOr<Entry> {
    ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] { return sys::OpenPath(dir_fd, name); }));
    ASSIGN_OR_RETURN(const sys::Attr found, sys::Statx(fd));
    // Somebody on the host was faster with the name: what is there now is not ours to change.
    const uint32_t maker = creation.switch_credentials ? found.stx_uid : own_uid_;
    if ((found.stx_mode & S_IFMT) != type || found.stx_uid != maker) return Errno(EEXIST);
    ASSIGN_OR_RETURN(const sys::Attr attr, GiveAway(fd, plan, creation));
    return AddChild(dir, name, std::move(fd), attr);
  };
  ErrnoOr<Entry> entry = finish();
  if (!entry.ok() && !(entry.error() == EEXIST)) {
    (void)sys::Unlink(dir_fd, name, type == S_IFDIR ? AT_REMOVEDIR : 0);
  }
  return entry;
}

ErrnoOr<Entry> Filesystem::MakeDir(Dentry& dir, const Name& name, const Creation& creation) {
  return MakeByName(dir, name, S_IFDIR, creation, [&](BorrowedFd dir_fd, uint32_t mode) {
    return sys::Mkdir(dir_fd, name, mode & 01777);
  });
}

ErrnoOr<Entry> Filesystem::MakeSymlink(Dentry& dir, const Name& name, const SymlinkTarget& target,
                                       const Creation& creation) {
  return MakeByName(dir, name, S_IFLNK, creation, [&](BorrowedFd dir_fd, uint32_t) {
    return sys::Symlink(target, dir_fd, name);
  });
}

ErrnoOr<Entry> Filesystem::MakeNode(Dentry& dir, const Name& name, uint32_t type, uint64_t device,
                                    const Creation& creation) {
  if (type == S_IFREG) {
    ASSIGN_OR_RETURN(OpenEntry made, CreateFile(dir, name, O_RDONLY | O_NONBLOCK, creation));
    return std::move(made.entry);
  }
  const bool is_device = type == S_IFCHR || type == S_IFBLK;
  if (!is_device && type != S_IFIFO && type != S_IFSOCK) return Errno(EINVAL);
  return MakeByName(dir, name, type, creation, [&](BorrowedFd dir_fd, uint32_t mode) {
    return sys::MakeNode(dir_fd, name, type | mode, is_device ? device : 0);
  });
}

ErrnoOr<void> Filesystem::Rename(Dentry& old_dir, const Name& old_name, Dentry& new_dir,
                                 const Name& new_name, unsigned flags, const Creation& creation) {
  std::optional<AsUser> user;
  if ((flags & RENAME_WHITEOUT) != 0 && creation.switch_credentials) {
    ASSIGN_OR_RETURN(AsUser taken, AsUser::Take(creation));
    user.emplace(std::move(taken));
  }
  return Rename(old_dir, old_name, new_dir, new_name, flags);
}

}  // namespace gofer::fs
