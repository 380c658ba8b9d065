// Looking, attributes and open files. Names are in filesystem_names.cc, extended attributes in
// filesystem_xattr.cc.

#include "gofer/fs/filesystem.h"

#include <dirent.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/dir_lock.h"

namespace gofer::fs {
namespace {

// Descriptors given up at once when they run out: enough that the next lookups need not ask again,
// few enough that most of what is in use keeps its own.
constexpr size_t kGiveUpBatch = 256;
constexpr size_t kGiveUpShare = 8;
// What getdents64 is given at a time. On the stack: the records are parsed, so they may not lie in
// memory that the client can write.
constexpr size_t kDirBuffer = 32 * 1024;
// The longest record of getdents64: a name of 255 bytes.
constexpr size_t kMaxDirRecord = 280;

// The device of one entry; false if it is gone by now.
bool FillDevice(BorrowedFd dir, DirEntry& entry) {
  const ErrnoOr<Name> name = Name::Parse(entry.name);
  if (!name.ok()) return false;
  const ErrnoOr<sys::Attr> attr = sys::StatxAt(dir, *name);
  if (!attr.ok()) return false;
  entry.dev_major = attr->stx_dev_major;
  entry.dev_minor = attr->stx_dev_minor;
  return true;
}

MountKind KindOf(const struct statfs& statfs) {
  switch (static_cast<uint64_t>(statfs.f_type)) {
    case TMPFS_MAGIC:
      return MountKind::kMemory;
    case OVERLAYFS_SUPER_MAGIC:
      return MountKind::kStacked;
    case EXT4_SUPER_MAGIC:  // ext2 and ext3 too
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
      return MountKind::kLocal;
    default:
      return MountKind::kOther;
  }
}

}  // namespace

bool IsMountedIn(const Dentry& dir, const sys::Attr& child) {
  return InodeKey::Of(child).mnt_id != dir.inode().key().mnt_id;
}

bool CrossesMount(const Dentry& dir, const sys::Attr& child) {
  const InodeKey parent = dir.inode().key();
  const InodeKey key = InodeKey::Of(child);
  return IsMountedIn(dir, child) || key.dev_major != parent.dev_major ||
         key.dev_minor != parent.dev_minor;
}

absl::StatusOr<std::unique_ptr<Filesystem>> Filesystem::Create(UniqueFd root, UniqueFd proc_fds,
                                                               const FilesystemOptions& options) {
  ErrnoOr<sys::Attr> attr = sys::Statx(root);
  if (!attr.ok()) return ToStatus(attr.error(), "statx(root)");
  if (InodeKey::Of(*attr).mnt_id == 0) {
    return absl::FailedPreconditionError(
        "statx(root): the kernel gives no mount id; Linux 5.8 or later is needed");
  }
  auto filesystem = absl::WrapUnique(new Filesystem(std::move(proc_fds), options));
  // The root is held by its descriptor always: there is no name to reopen it by.
  ErrnoOr<RefPtr<Inode>> inode = filesystem->Intern(std::move(root), *attr);
  if (!inode.ok()) return ToStatus(inode.error(), "root");
  (*inode)->KeepFd();
  filesystem->root_ = filesystem->dentries_.MakeRoot(*std::move(inode));
  if (options.file_handles != FileHandles::kNever) RETURN_IF_ERROR(filesystem->TryHandles());
  return filesystem;
}

Filesystem::Filesystem(UniqueFd proc_fds, const FilesystemOptions& options)
    : proc_fds_(std::move(proc_fds)),
      options_(options),
      own_uid_(geteuid()),
      own_gid_(getegid()),
      inodes_(&dentries_),
      dentries_(options.max_unreferenced_dentries) {}

Filesystem::~Filesystem() = default;

// ---- descriptors

ErrnoOr<PathFd> Filesystem::Pin(const Dentry& dentry) {
  if (std::optional<PathFd> pinned = dentry.inode().TryPin(); pinned.has_value())
    return *std::move(pinned);
  return PinSlow(dentry);
}

template <typename F>
std::invoke_result_t<F> Filesystem::DespiteRenames(F&& by_name) {
  // A rename changes the host first and our tree after it. In between, and for who has seen our
  // tree before and sees the host after it, a name leads to the wrong file.
  constexpr int kTries = 50;
  for (int tries = 1;; ++tries) {
    const uint64_t done = renames_done_.load(std::memory_order_acquire);
    auto result = by_name();
    if (result.ok() || !(result.error() == ESTALE) || tries == kTries) return result;
    if (renames_running_.load(std::memory_order_acquire) > 0) {
      absl::SleepFor(absl::Microseconds(20));
    } else if (renames_done_.load(std::memory_order_acquire) == done) {
      return result;
    }
  }
}

ErrnoOr<PathFd> Filesystem::PinSlow(const Dentry& dentry) {
  return DespiteRenames([&] { return PinByName(dentry); });
}

ErrnoOr<sys::Attr> Filesystem::StatByName(const Dentry& dentry) {
  const DentryCache::Place place = dentries_.PlaceOf(dentry);
  if (!place.parent || dentry.inode().lost()) return Errno(ESTALE);
  ASSIGN_OR_RETURN(const Name name, Name::Parse(place.name));
  ASSIGN_OR_RETURN(const PathFd parent, Pin(*place.parent));
  const ErrnoOr<sys::Attr> attr = sys::StatxAt(parent, name);
  if (!attr.ok()) return attr.error() == ENOENT ? Errno(ESTALE) : attr.error();
  if (!dentry.inode().Matches(*attr)) return Errno(ESTALE);
  return *attr;
}

ErrnoOr<PathFd> Filesystem::PinByName(const Dentry& dentry) {
  // Climb to the nearest ancestor that still has its descriptor (the root always has), then come
  // down again by name. A loop, not a recursion: how deep the tree is was the client's choice.
  struct Step {
    RefPtr<Dentry> dentry;
    std::string name;
  };
  std::vector<Step> steps;
  RefPtr<Dentry> at(const_cast<Dentry*>(&dentry));
  PathFd pinned;
  for (;;) {
    if (std::optional<PathFd> found = at->inode().TryPin(); found.has_value()) {
      pinned = *std::move(found);
      break;
    }
    if (at->inode().has_handle()) {
      ASSIGN_OR_RETURN(pinned, PinByHandle(at->inode()));
      break;
    }
    DentryCache::Place place = dentries_.PlaceOf(*at);
    if (!place.parent) return Errno(ESTALE);
    steps.push_back({std::move(at), std::move(place.name)});
    at = std::move(place.parent);
  }
  // The steps are all kept to the end: a rename may take a directory out from under what is pinned.
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    ASSIGN_OR_RETURN(pinned, ReopenByName(*step->dentry, pinned, step->name));
  }
  return pinned;
}

ErrnoOr<PathFd> Filesystem::ReopenByName(const Dentry& dentry, BorrowedFd parent,
                                         const std::string& name) {
  ASSIGN_OR_RETURN(const Name checked, Name::Parse(name));
  // What is held by open files alone is no reason to refuse the use of one more: it takes from the
  // reserve, for as long as it is used.
  (void)ReserveFd();
  ErrnoOr<UniqueFd> fd = WithFdsToSpare([&] { return sys::OpenPath(parent, checked); });
  if (!fd.ok()) return fd.error() == ENOENT ? Errno(ESTALE) : fd.error();
  ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(*fd));
  if (!dentry.inode().Matches(attr)) return Errno(ESTALE);
  return inodes_.Restore(dentry.inode(), *std::move(fd));
}

size_t Filesystem::GiveUpBatch() const {
  return std::clamp<size_t>(options_.max_fds / kGiveUpShare, 1, kGiveUpBatch);
}

bool Filesystem::GaveUpFdsAfter(Errno error) {
  if (!(error == EMFILE || error == ENFILE)) return false;
  const size_t before = open_fds();
  dentries_.Purge();
  return open_fds() < before || inodes_.GiveUpFds(GiveUpBatch()) > 0;
}

ErrnoOr<void> Filesystem::ReserveNode() {
  if (dentries_.size() < options_.max_nodes) [[likely]]
    return {};
  dentries_.Purge();
  if (dentries_.size() < options_.max_nodes) return {};
  return Errno(ENFILE);
}

ErrnoOr<void> Filesystem::ReserveFd() {
  if (open_fds() < options_.max_fds) [[likely]]
    return {};
  dentries_.Purge();
  if (open_fds() >= options_.max_fds) inodes_.GiveUpFds(GiveUpBatch());
  if (open_fds() >= options_.max_fds) return Errno(ENFILE);
  return {};
}

// ---- looking

ErrnoOr<RefPtr<Inode>> Filesystem::Intern(UniqueFd fd, const sys::Attr& attr) {
  ASSIGN_OR_RETURN(const std::optional<sys::FileHandle> handle, HandleOf(fd, attr));
  RefPtr<Inode> inode =
      inodes_.Intern(std::move(fd), attr, handle.has_value() ? &*handle : nullptr);
  if (inode->mount().kind() == MountKind::kUnknown) {
    if (const std::optional<PathFd> pinned = inode->TryPin(); pinned.has_value()) {
      const ErrnoOr<struct statfs> statfs = sys::StatFs(*pinned);
      if (statfs.ok()) inode->mount().SetKind(KindOf(*statfs));
    }
  }
  if (inode->has_handle() && !inode->mount().fd().valid() && !MakeMountFd(*inode)) {
    inodes_.ForgetHandle(*inode);
    ASSIGN_OR_RETURN(const auto none, NoHandle(Errno(EOPNOTSUPP), attr.stx_mnt_id));
    (void)none;
  }
  return inode;
}

ErrnoOr<Entry> Filesystem::AddChild(Dentry& dir, const Name& name, UniqueFd fd,
                                    const sys::Attr& attr) {
  ASSIGN_OR_RETURN(RefPtr<Inode> inode, Intern(std::move(fd), attr));
  return Entry{.dentry = dentries_.Add(dir, name.view(), std::move(inode)), .attr = attr};
}

bool Filesystem::LeadsTo(const Inode& inode, BorrowedFd dir_fd, const Name& name,
                         const sys::Attr& attr) {
  if (!inode.Matches(attr)) return false;
  // A number is exact while a descriptor is held. Else the handle is what counts.
  if (!inode.has_handle() || inode.TryPin().has_value()) return true;
  const ErrnoOr<sys::MountedFileHandle> found = sys::FileHandleAt(dir_fd, name);
  return found.ok() && inodes_.HandleOf(inode) == found->handle;
}

ErrnoOr<Filesystem::Found> Filesystem::OpenNew(BorrowedFd dir_fd, const Name& name) {
  RETURN_IF_ERROR(ReserveNode());
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] { return sys::OpenPath(dir_fd, name); }));
  ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(fd));
  ASSIGN_OR_RETURN(RefPtr<Inode> inode, Intern(std::move(fd), attr));
  return Found{.inode = std::move(inode), .attr = attr};
}

ErrnoOr<Filesystem::Found> Filesystem::TakeNew(BorrowedFd dir_fd, const Name& name,
                                               const sys::Attr& attr) {
  RETURN_IF_ERROR(ReserveNode());
  RefPtr<Inode> inode =
      use_handles_ ? InternByHandle(dir_fd, name, attr) : inodes_.InternUnopened(attr);
  if (!inode) return OpenNew(dir_fd, name);
  return Found{.inode = std::move(inode), .attr = attr};
}

ErrnoOr<Entry> Filesystem::Attach(Dentry& dir, const Name& name, Found found) {
  Entry entry = {.dentry = dentries_.Add(dir, name.view(), std::move(found.inode)),
                 .attr = found.attr};
  // Removed meanwhile, with all that was known in it: that this came too late for.
  if (dir.deleted()) return Errno(ENOENT);
  return entry;
}

ErrnoOr<Entry> Filesystem::LookupUnopened(Dentry& dir, const Name& name) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  if (dir.deleted()) return Errno(ENOENT);
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  RefPtr<Dentry> known;  // dropped after the lock
  for (DirLook<DirHold> look(dir);;) {
    known = dentries_.Find(dir, name.view());
    const ErrnoOr<sys::Attr> attr = sys::StatxAt(dir_fd, name);
    if (!attr.ok()) {
      if (known && attr.error() == ENOENT && look.Take()) dentries_.Forget(*known);
      return attr.error();
    }
    if (known && LeadsTo(known->inode(), dir_fd, name, *attr)) {
      return Entry{std::move(known), *attr};
    }
    ASSIGN_OR_RETURN(Found found, TakeNew(dir_fd, name, *attr));
    if (IsMountedIn(dir, found.attr) || look.Take()) return Attach(dir, name, std::move(found));
  }
}

ErrnoOr<Entry> Filesystem::Lookup(Dentry& dir, const Name& name) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  if (dir.deleted()) return Errno(ENOENT);
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  RefPtr<Dentry> known;  // dropped after the lock
  for (DirLook<DirHold> look(dir);;) {
    known = dentries_.Find(dir, name.view());
    if (known) {
      const ErrnoOr<sys::Attr> attr = sys::StatxAt(dir_fd, name);
      if (!attr.ok()) {
        if (attr.error() == ENOENT && look.Take()) dentries_.Forget(*known);
        return attr.error();
      }
      if (LeadsTo(known->inode(), dir_fd, name, *attr)) {
        // Who gets a Dentry can rely on its file, wherever its name leads later: it needs the
        // descriptor now.
        const ErrnoOr<PathFd> pinned = Pin(*known);
        if (pinned.ok()) return Entry{std::move(known), *attr};
        if (!(pinned.error() == ESTALE)) return pinned.error();
      }
    }
    ASSIGN_OR_RETURN(Found found, OpenNew(dir_fd, name));
    if (IsMountedIn(dir, found.attr) || look.Take()) return Attach(dir, name, std::move(found));
  }
}

ErrnoOr<sys::Attr> Filesystem::StatChild(Dentry& dir, const Name& name) {
  if (!dir.is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const PathFd dir_fd, Pin(dir));
  return sys::StatxAt(dir_fd, name);
}

ErrnoOr<sys::Attr> Filesystem::Stat(Dentry& dentry) {
  if (const std::optional<PathFd> fd = dentry.inode().TryPin(); fd.has_value()) {
    ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(*fd));
    dentry.inode().NoteMode(attr.stx_mode);
    return attr;
  }
  if (dentry.inode().has_handle()) {
    ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
    return sys::Statx(fd);
  }
  return DespiteRenames([&] { return StatByName(dentry); });
}

ErrnoOr<struct statfs> Filesystem::StatFs(Dentry& dentry) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return sys::StatFs(fd);
}

ErrnoOr<absl::string_view> Filesystem::ReadLink(Dentry& dentry, std::span<char> buffer) {
  if (dentry.type() != S_IFLNK) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return sys::ReadLink(fd, buffer);
}

// ---- attributes

ErrnoOr<void> Filesystem::ChangeMode(Dentry& dentry, uint32_t mode) {
  if (dentry.type() == S_IFLNK) return Errno(EOPNOTSUPP);
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  const ScopedChange change(dentry.inode());
  dentry.inode().NoteMode(mode);
  return proc_fds_.ChangeMode(fd, mode & 07777);
}

ErrnoOr<void> Filesystem::ChangeOwner(Dentry& dentry, Owner owner) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  const ScopedChange change(dentry.inode());
  return sys::ChangeOwner(fd, owner.uid, owner.gid);
}

ErrnoOr<void> Filesystem::SetTimes(Dentry& dentry, const struct timespec times[2]) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  const ScopedChange change(dentry.inode());
  return sys::SetTimes(fd, times);
}

ErrnoOr<void> Filesystem::Truncate(Dentry& dentry, uint64_t size, SetIdBits set_id) {
  if (dentry.is_directory()) return Errno(EISDIR);
  if (dentry.type() != S_IFREG) return Errno(EINVAL);
  if (size > INT64_MAX) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(dentry));
  ASSIGN_OR_RETURN(const UniqueFd fd, WithFdsToSpare([&] {
                     return proc_fds_.Reopen(path_fd, O_WRONLY | O_NONBLOCK);
                   }));
  ASSIGN_OR_RETURN(const auto guard, GuardSetId(set_id, dentry, fd));
  const ScopedChange change(dentry.inode());
  return sys::FTruncate(fd, size);
}

// ---- open files

ErrnoOr<RefPtr<Handle>> Filesystem::Open(Dentry& dentry, int flags) {
  const int access = flags & O_ACCMODE;
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(dentry));
  ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] {
                     return proc_fds_.Reopen(
                         path_fd, (flags & (O_ACCMODE | O_TRUNC)) | O_NONBLOCK | O_NOCTTY);
                   }));
  if ((flags & O_TRUNC) != 0) dentry.inode().NoteChange();
  return RefPtr<Handle>::Adopt(
      new Handle(RefPtr<Dentry>(&dentry), access, std::move(fd), handle_fds_));
}

ErrnoOr<BorrowedFd> Filesystem::FdOf(Handle& handle) {
  if (const int fd = handle.fd_.load(std::memory_order_acquire); fd >= 0) return BorrowedFd(fd);
  RETURN_IF_ERROR(ReserveFd());
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(handle.dentry()));
  ASSIGN_OR_RETURN(UniqueFd own, WithFdsToSpare([&] {
                     return proc_fds_.Reopen(path_fd, handle.access() | O_NONBLOCK | O_NOCTTY);
                   }));
  int expected = -1;
  if (handle.fd_.compare_exchange_strong(expected, own.get(), std::memory_order_acq_rel)) {
    handle_fds_.fetch_add(1, std::memory_order_relaxed);
    return BorrowedFd(own.Release());
  }
  return BorrowedFd(expected);  // another thread was first
}

ErrnoOr<size_t> Filesystem::Read(Handle& handle, std::span<std::byte> to, uint64_t offset) {
  if (!handle.readable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::PReadFull(fd, to, offset);
}

ErrnoOr<size_t> Filesystem::Write(Handle& handle, std::span<const std::byte> from,
                                  uint64_t offset) {
  if (!handle.writable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::PWriteFull(fd, from, offset);
}

ErrnoOr<void> Filesystem::Sync(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::FSync(fd);
}

ErrnoOr<void> Filesystem::Allocate(Handle& handle, int mode, uint64_t offset, uint64_t length) {
  if (!handle.writable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  return sys::FAllocate(fd, mode, offset, length);
}

ErrnoOr<void> Filesystem::ReadDir(Handle& handle, bool rewind, size_t budget,
                                  absl::FunctionRef<void(const DirEntry&)> sink) {
  Dentry& dir = handle.dentry();
  if (!dir.is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const InodeKey key = dir.inode().key();
  ASSIGN_OR_RETURN(const struct statfs statfs, sys::StatFs(fd));
  // Everything in a directory is on its device, but for files of overlayfs's lower layers. What is
  // mounted on a name has another device; the entry is of the name below it, whose inode number it
  // gives.
  const bool ask_each = statfs.f_type == OVERLAYFS_SUPER_MAGIC;
  absl::MutexLock lock(&handle.position_mu_);
  if (rewind) RETURN_IF_ERROR(sys::SeekTo(fd, 0));
  alignas(struct dirent64) std::byte buffer[kDirBuffer];
  size_t left = budget;
  while (left > 0) {
    ErrnoOr<size_t> size = sys::GetDents(fd, std::span(buffer, std::min(left, sizeof(buffer))));
    if (!size.ok()) {
      // The next record does not fit what is left of the budget.
      if (size.error() == EINVAL && left < kMaxDirRecord) return {};
      return size.error();
    }
    if (*size == 0) return {};
    for (size_t at = 0; at < *size;) {
      const auto* record = reinterpret_cast<const struct dirent64*>(buffer + at);
      at += record->d_reclen;
      const absl::string_view name = record->d_name;
      if (name == "." || name == "..") continue;
      DirEntry entry = {.ino = record->d_ino,
                        .dev_major = key.dev_major,
                        .dev_minor = key.dev_minor,
                        .off = static_cast<uint64_t>(record->d_off),
                        .type = record->d_type,
                        .name = name};
      if (ask_each && !FillDevice(fd, entry)) continue;
      left -= std::min<size_t>(left, record->d_reclen);
      sink(entry);
    }
  }
  return {};
}

ErrnoOr<UniqueFd> Filesystem::Connect(Dentry& socket, int type, const sys::Credentials* creds) {
  if (socket.type() != S_IFSOCK) return Errno(ENOTSOCK);
  ASSIGN_OR_RETURN(const PathFd fd, Pin(socket));
  return WithFdsToSpare([&] { return sys::ConnectTo(proc_fds_, fd, type, creds); });
}

}  // namespace gofer::fs
