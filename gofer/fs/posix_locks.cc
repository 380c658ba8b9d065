#include "gofer/fs/posix_locks.h"

#include <fcntl.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/file_io.h"

namespace gofer::fs {
namespace {

constexpr LockRange kWholeFile = {
    .type = F_UNLCK, .start = 0, .end = static_cast<uint64_t>(std::numeric_limits<int64_t>::max())};

}  // namespace

void ApplyLock(LockRanges& ranges, const LockRange& range) {
  LockRanges result;
  result.reserve(ranges.size() + 2);
  LockRange added = range;
  for (const LockRange& old : ranges) {
    // A neighbour of the same type, or one that overlaps, becomes a part of the new one. Ends are
    // below 2^63, so one more is still a number.
    const bool touches = old.start <= added.end + 1 && added.start <= old.end + 1;
    if (touches && old.type == range.type) {
      added.start = std::min(added.start, old.start);
      added.end = std::max(added.end, old.end);
      continue;
    }
    if (old.end < range.start || old.start > range.end) {
      result.push_back(old);
      continue;
    }
    if (old.start < range.start) result.push_back({old.type, old.start, range.start - 1});
    if (old.end > range.end) result.push_back({old.type, range.end + 1, old.end});
  }
  if (added.type != F_UNLCK) result.push_back(added);
  std::sort(result.begin(), result.end(),
            [](const LockRange& a, const LockRange& b) { return a.start < b.start; });
  ranges = std::move(result);
}

RefPtr<PosixLocks::Held> PosixLocks::Find(const Dentry& dentry, uint64_t owner) const {
  absl::MutexLock lock(&mu_);
  const auto found = held_.find(Key{&dentry.inode(), owner});
  return found == held_.end() ? nullptr : found->second;
}

ErrnoOr<RefPtr<PosixLocks::Held>> PosixLocks::FindOrOpen(Dentry& dentry, uint64_t owner) {
  if (RefPtr<Held> found = Find(dentry, owner); found) return found;
  ASSIGN_OR_RETURN(RefPtr<Handle> opened, filesystem_.OpenForLocks(dentry));
  auto made = MakeRef<Held>(std::move(opened));
  RefPtr<Held> kept;  // what is not kept is closed after the lock
  {
    absl::MutexLock lock(&mu_);
    kept = held_.try_emplace(Key{&dentry.inode(), owner}, made).first->second;
  }
  return kept;
}

ErrnoOr<LockRange> PosixLocks::Test(Dentry& dentry, uint64_t owner, const LockRange& range) {
  // An owner that has no lock yet asks by a descriptor of its own all the same, since its own locks
  // are not in its way; that one is not kept.
  if (const RefPtr<Held> held = Find(dentry, owner); held) {
    return filesystem_.TestLock(*held->handle, range);
  }
  ASSIGN_OR_RETURN(const RefPtr<Handle> handle, filesystem_.OpenForLocks(dentry));
  return filesystem_.TestLock(*handle, range);
}

ErrnoOr<void> PosixLocks::Set(Dentry& dentry, uint64_t owner, const LockRange& range) {
  if (range.type == F_UNLCK) {
    const RefPtr<Held> held = Find(dentry, owner);
    return held ? SetAndRemember(*held, range) : ErrnoOr<void>();
  }
  ASSIGN_OR_RETURN(const RefPtr<Held> held, FindOrOpen(dentry, owner));
  return SetAndRemember(*held, range);
}

ErrnoOr<void> PosixLocks::SetAndRemember(Held& held, const LockRange& range) {
  absl::MutexLock lock(&held.mu);
  RETURN_IF_ERROR(filesystem_.SetLock(*held.handle, range));
  ApplyLock(held.ranges, range);
  return {};
}

void PosixLocks::Release(const Dentry& dentry, uint64_t owner) {
  RefPtr<Held> closing;  // after the lock
  absl::MutexLock lock(&mu_);
  const auto found = held_.find(Key{&dentry.inode(), owner});
  if (found == held_.end()) return;
  closing = std::move(found->second);
  held_.erase(found);
}

void PosixLocks::Clear() {
  absl::flat_hash_map<Key, RefPtr<Held>> closing;  // after the lock
  absl::MutexLock lock(&mu_);
  closing.swap(held_);
}

size_t PosixLocks::size() const {
  absl::MutexLock lock(&mu_);
  return held_.size();
}

std::vector<std::pair<uint64_t, RefPtr<PosixLocks::Held>>> PosixLocks::Everybody() const {
  std::vector<std::pair<uint64_t, RefPtr<Held>>> all;
  absl::MutexLock lock(&mu_);
  for (const auto& [key, held] : held_) all.emplace_back(key.owner, held);
  return all;
}

std::vector<PosixLocks::OfOwner> PosixLocks::All() const {
  std::vector<OfOwner> all;
  for (const auto& [owner, held] : Everybody()) {
    absl::MutexLock lock(&held->mu);
    if (held->ranges.empty()) continue;
    all.push_back({.dentry = RefPtr<Dentry>(&held->handle->dentry()),
                   .owner = owner,
                   .ranges = held->ranges});
  }
  return all;
}

void PosixLocks::LetGo() {
  for (const auto& [owner, held] : Everybody()) {
    absl::MutexLock lock(&held->mu);
    // It can fail only on a host that cannot be asked for locks any more at all.
    (void)filesystem_.SetLock(*held->handle, kWholeFile).ok();
  }
}

std::vector<PosixLocks::OfOwner> PosixLocks::TakeAgain() {
  std::vector<OfOwner> lost;
  for (const auto& [owner, held] : Everybody()) {
    absl::MutexLock lock(&held->mu);
    LockRanges taken;
    LockRanges failed;
    for (const LockRange& range : held->ranges) {
      (filesystem_.SetLock(*held->handle, range).ok() ? taken : failed).push_back(range);
    }
    held->ranges = std::move(taken);
    if (failed.empty()) continue;
    lost.push_back({.dentry = RefPtr<Dentry>(&held->handle->dentry()),
                    .owner = owner,
                    .ranges = std::move(failed)});
  }
  return lost;
}

}  // namespace gofer::fs
