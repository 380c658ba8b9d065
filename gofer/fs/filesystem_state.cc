// What a checkpoint asks of names and open files.

#include <fcntl.h>
#include <sys/stat.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/fs/dir_lock.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/state.h"
#include "gofer/sys/file_io.h"
#include "gofer/sys/pipe.h"

namespace gofer::fs {

// ---- names

Filesystem::PlaceSeen Filesystem::LookAt(const Dentry& dentry, Dentry& dir, const Name& name) {
  PlaceSeen seen;
  const ErrnoOr<PathFd> dir_fd = Pin(dir);
  if (!dir_fd.ok()) {
    seen.attr = dir_fd.error();
    return seen;
  }
  seen.attr = sys::StatxAt(*dir_fd, name);
  if (!seen.attr.ok()) return seen;
  seen.is_mounted = IsMountedIn(dir, *seen.attr);
  if (!LeadsTo(dentry.inode(), *dir_fd, name, *seen.attr)) seen.attr = Errno(ESTALE);
  return seen;
}

ErrnoOr<sys::Attr> Filesystem::CheckPlace(Dentry& dentry) {
  for (;;) {
    const DentryCache::Place place = dentries_.PlaceOf(dentry);
    if (!place.parent) return Stat(dentry);  // the root has no name
    ASSIGN_OR_RETURN(const Name name, Name::Parse(place.name));
    for (DirLook<DirHold> look(*place.parent);;) {
      PlaceSeen seen = LookAt(dentry, *place.parent, name);
      if (seen.attr.ok()) return std::move(seen.attr);
      // If not, it may be that a change of ours was half done.
      if (!seen.is_mounted && !look.Take()) continue;
      if (dentries_.PlaceOf(dentry) == place) return std::move(seen.attr);
      break;
    }
  }
}

ErrnoOr<std::string> Filesystem::HostPathOf(const Dentry& dentry) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return proc_fds_.PathOf(fd);
}

ErrnoOr<void> Filesystem::Resettle(Dentry& dentry, Dentry& dir, const Name& name,
                                   bool share_place) {
  const DentryCache::Place place = dentries_.PlaceOf(dentry);
  if (!place.parent) return Errno(EINVAL);
  if (!dir.is_directory()) return Errno(ENOTDIR);
  DirLook<DirChange> look(dir, *place.parent);
  do {
    const PlaceSeen seen = LookAt(dentry, dir, name);
    if (!seen.attr.ok()) return seen.attr.error();
    if (seen.is_mounted) look.TakeAnyway();
  } while (!look.Take());
  if (dentry.deleted() || dentries_.PlaceOf(dentry) != place) return Errno(EAGAIN);
  if (dir.deleted()) return Errno(ENOENT);
  const RefPtr<Dentry> present = dentries_.Find(dir, name.view());
  if (present.get() == &dentry) return {};
  const bool is_twin = present && &present->inode() == &dentry.inode() && present->shared();
  if (is_twin && !share_place) return Errno(EEXIST);
  if (present && !is_twin) dentries_.Forget(*present);
  if (!dentries_.Move(dentry, dir, name.view())) return Errno(ELOOP);
  rename_count_.fetch_add(1, std::memory_order_release);
  renames_done_.fetch_add(1, std::memory_order_acq_rel);
  return {};
}

ErrnoOr<void> Filesystem::SettleDeleted(Dentry& dentry) {
  const DentryCache::Place place = dentries_.PlaceOf(dentry);
  if (!place.parent) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const Name name, Name::Parse(place.name));
  const Removal removal = PrepareRemoval(*place.parent, RefPtr<Dentry>(&dentry));
  DirLook<DirChange> look(*place.parent);
  do {
    const PlaceSeen seen = LookAt(dentry, *place.parent, name);
    if (seen.attr.ok()) return Errno(EEXIST);
    if (seen.is_mounted) look.TakeAnyway();
  } while (!look.Take());
  if (dentries_.PlaceOf(dentry) != place) return Errno(EAGAIN);
  Finish(removal);
  return {};
}

// ---- numbers

namespace {

FileNumber NumberOf(const Inode& inode) {
  const InodeKey key = inode.key();
  return {.dev_major = key.dev_major, .dev_minor = key.dev_minor, .ino = key.ino};
}

}  // namespace

void Filesystem::KeepNumbers(ClientNumbers numbers) {
  if (numbers.is_identity() && numbers_.load(std::memory_order_acquire) == nullptr) return;
  const absl::MutexLock lock(&numbers_mu_);
  all_numbers_.push_back(std::make_unique<const ClientNumbers>(std::move(numbers)));
  numbers_.store(all_numbers_.back().get(), std::memory_order_release);
}

void Filesystem::PassNumbersOn(std::span<const std::pair<const Inode*, const Inode*>> pairs) {
  std::vector<std::pair<FileNumber, FileNumber>> swaps;
  swaps.reserve(pairs.size());
  for (const auto& [gone, made] : pairs) swaps.emplace_back(NumberOf(*gone), NumberOf(*made));
  const ClientNumbers* const numbers = numbers_.load(std::memory_order_acquire);
  KeepNumbers((numbers != nullptr ? *numbers : ClientNumbers({})).WithSwapped(swaps));
}

// ---- open files

ErrnoOr<UniqueFd> Filesystem::OpenFifo(Dentry& fifo, int flags) {
  if (fifo.type() != S_IFIFO) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(fifo));
  return WithFdsToSpare([&] { return proc_fds_.Reopen(path_fd, flags | O_NONBLOCK | O_NOCTTY); });
}

ErrnoOr<std::string> Filesystem::PeekFifo(Dentry& fifo, size_t limit) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFifo(fifo, O_RDONLY));
  return sys::PeekPipe(fd, limit);
}

ErrnoOr<void> Filesystem::SkipFifo(Dentry& fifo, size_t size) {
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFifo(fifo, O_RDONLY));
  ASSIGN_OR_RETURN(const std::string skipped, sys::DrainPipe(fd, size));
  return skipped.size() == size ? ErrnoOr<void>() : Errno(ENODATA);
}

ErrnoOr<void> Filesystem::RefillFifo(Dentry& fifo, absl::string_view bytes) {
  // With both ends open it is neither refused nor told the end.
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenFifo(fifo, O_RDWR));
  ASSIGN_OR_RETURN(const std::string present, sys::DrainPipe(fd, kMaxUnreadBytes));
  const ErrnoOr<void> first = sys::FillPipe(fd, bytes);
  const ErrnoOr<void> then = sys::FillPipe(fd, present);
  return first.ok() ? then : first;
}

ErrnoOr<void> Filesystem::WithFdFor(Handle& handle,
                                    absl::FunctionRef<ErrnoOr<void>(BorrowedFd)> call) {
  if (const int own = handle.fd_.load(std::memory_order_acquire); own >= 0) {
    return call(BorrowedFd(own));
  }
  ASSIGN_OR_RETURN(const PathFd path_fd, Pin(handle.dentry()));
  ASSIGN_OR_RETURN(const UniqueFd fd, WithFdsToSpare([&] {
                     return proc_fds_.Reopen(path_fd, handle.access() | O_NONBLOCK | O_NOCTTY);
                   }));
  return call(fd);
}

ErrnoOr<void> Filesystem::WriteBack(Handle& handle) {
  if (handle.dentry().inode().mount().kind() == MountKind::kMemory) return {};
  return WithFdFor(handle, [](BorrowedFd fd) -> ErrnoOr<void> {
    const ErrnoOr<void> synced = sys::FSync(fd);
    // Some file systems have nothing to write back, and say so.
    if (!synced.ok() && (synced.error() == EINVAL || synced.error() == EROFS)) return {};
    return synced;
  });
}

ErrnoOr<void> Filesystem::WriteBackMount(Handle& handle) {
  switch (handle.dentry().inode().mount().kind()) {
    case MountKind::kMemory:
      return {};
    case MountKind::kLocal:
    case MountKind::kStacked:
      return WithFdFor(handle, [](BorrowedFd fd) { return sys::SyncFs(fd); });
    case MountKind::kUnknown:
    case MountKind::kOther:
      break;
  }
  return Errno(EOPNOTSUPP);
}

ErrnoOr<uint64_t> Filesystem::PositionOf(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const absl::MutexLock lock(&handle.position_mu_);
  return sys::Seek(fd, 0, SEEK_CUR);
}

ErrnoOr<void> Filesystem::SetPosition(Handle& handle, uint64_t cookie) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const absl::MutexLock lock(&handle.position_mu_);
  return sys::SeekTo(fd, cookie);
}

RefPtr<Dentry> Filesystem::AddStale(Dentry& dir, absl::string_view name, uint32_t type) {
  return dentries_.AddStale(dir, name, inodes_.MakeLost(type));
}

RefPtr<Dentry> Filesystem::AddDeleted(Dentry& dir, absl::string_view last_name, Dentry& other) {
  // No name to open it by when it has no descriptor: this one stays.
  if (const ErrnoOr<PathFd> pinned = Pin(other); pinned.ok()) other.inode().KeepFd();
  return dentries_.AddDeleted(dir, last_name, RefPtr<Inode>(&other.inode()));
}

RefPtr<Handle> Filesystem::MakeUnopened(Dentry& dentry, int flags) {
  auto handle =
      RefPtr<Handle>::Adopt(new Handle(RefPtr<Dentry>(&dentry), flags, UniqueFd(), handle_fds_));
  (void)handle->Donate();  // it counts no descriptor
  return handle;
}

}  // namespace gofer::fs
