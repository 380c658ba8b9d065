#include "gofer/fs/posix_locks.h"

#include <fcntl.h>

#include <limits>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/file_io.h"

namespace gofer::fs {

RefPtr<Handle> PosixLocks::Find(const Dentry& dentry, uint64_t owner) const {
  absl::MutexLock lock(&mu_);
  const auto found = held_.find(Key{&dentry.inode(), owner});
  return found == held_.end() ? nullptr : found->second;
}

ErrnoOr<RefPtr<Handle>> PosixLocks::FindOrOpen(Dentry& dentry, uint64_t owner) {
  if (RefPtr<Handle> found = Find(dentry, owner); found) return found;
  ASSIGN_OR_RETURN(RefPtr<Handle> opened, filesystem_.OpenForLocks(dentry));
  RefPtr<Handle> kept;  // what is not kept is closed after the lock
  {
    absl::MutexLock lock(&mu_);
    kept = held_.try_emplace(Key{&dentry.inode(), owner}, opened).first->second;
  }
  return kept;
}

ErrnoOr<LockRange> PosixLocks::Test(Dentry& dentry, uint64_t owner, const LockRange& range) {
  // An owner that has no lock yet asks by a descriptor of its own all the same, since its own locks
  // are not in its way; that one is not kept.
  RefPtr<Handle> handle = Find(dentry, owner);
  if (!handle) {
    ASSIGN_OR_RETURN(handle, filesystem_.OpenForLocks(dentry));
  }
  return filesystem_.TestLock(*handle, range);
}

ErrnoOr<void> PosixLocks::Set(Dentry& dentry, uint64_t owner, const LockRange& range) {
  if (range.type == F_UNLCK) {
    const RefPtr<Handle> handle = Find(dentry, owner);
    return handle ? filesystem_.SetLock(*handle, range) : ErrnoOr<void>();
  }
  ASSIGN_OR_RETURN(const RefPtr<Handle> handle, FindOrOpen(dentry, owner));
  return filesystem_.SetLock(*handle, range);
}

void PosixLocks::Release(const Dentry& dentry, uint64_t owner) {
  RefPtr<Handle> closing;  // after the lock
  absl::MutexLock lock(&mu_);
  const auto found = held_.find(Key{&dentry.inode(), owner});
  if (found == held_.end()) return;
  closing = std::move(found->second);
  held_.erase(found);
}

void PosixLocks::Clear() {
  absl::flat_hash_map<Key, RefPtr<Handle>> closing;  // after the lock
  absl::MutexLock lock(&mu_);
  closing.swap(held_);
}

size_t PosixLocks::size() const {
  absl::MutexLock lock(&mu_);
  return held_.size();
}

}  // namespace gofer::fs
