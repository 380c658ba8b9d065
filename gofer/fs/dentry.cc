#include "gofer/fs/dentry.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "glog/logging.h"

namespace gofer::fs {

Dentry::Dentry(DentryCache* cache, RefPtr<Dentry> parent, absl::string_view name,
               RefPtr<Inode> inode)
    : cache_(cache),
      inode_(std::move(inode)),
      dir_(inode_->is_directory() ? std::make_unique<DirState>() : nullptr),
      parent_(std::move(parent)),
      name_(name) {}

void Dentry::Unref() const {
  uint32_t refs = refs_.load(std::memory_order_relaxed);
  while (refs > 1) {
    if (refs_.compare_exchange_weak(refs, refs - 1, std::memory_order_release,
                                    std::memory_order_relaxed)) {
      return;
    }
  }
  // Once the reference is dropped another thread may destroy the Dentry: nothing of it is looked at
  // afterwards.
  DentryCache& cache = *cache_;
  DentryCache::Victims victims;
  cache.DropReference(const_cast<Dentry&>(*this), victims);
  if (!victims.empty()) cache.Destroy(std::move(victims));
}

DentryCache::~DentryCache() {
  Purge();
  CHECK_EQ(size(), 0u) << "dentries outlive their cache";
}

RefPtr<Dentry> DentryCache::MakeRoot(RefPtr<Inode> inode) {
  size_.fetch_add(1, std::memory_order_relaxed);
  return RefPtr<Dentry>::Adopt(new Dentry(this, nullptr, "", std::move(inode)));
}

RefPtr<Dentry> DentryCache::Find(const Dentry& dir, absl::string_view name) {
  DirState& state = dir.dir();
  absl::ReaderMutexLock lock(&state.children_mu);
  const auto it = state.children.find(name);
  return it == state.children.end() ? nullptr : RefPtr<Dentry>(*it);
}

RefPtr<Dentry> DentryCache::Add(Dentry& dir, absl::string_view name, RefPtr<Inode> inode) {
  auto added =
      RefPtr<Dentry>::Adopt(new Dentry(this, RefPtr<Dentry>(&dir), name, std::move(inode)));
  size_.fetch_add(1, std::memory_order_relaxed);
  RefPtr<Dentry> replaced;  // dropped after the lock
  DirState& state = dir.dir();
  absl::MutexLock lock(&state.children_mu);
  if (const auto it = state.children.find(name); it != state.children.end()) {
    RefPtr<Dentry> present(*it);
    if (present->inode_ == added->inode_) {
      replaced = std::exchange(added, std::move(present));  // another lookup was first: drop ours
      return added;
    }
    state.children.erase(it);
    present->hashed_.store(false, std::memory_order_relaxed);
    replaced = std::move(present);
  }
  state.children.insert(added.get());
  added->hashed_.store(true, std::memory_order_relaxed);
  return added;
}

void DentryCache::Forget(const Dentry& dentry) {
  absl::MutexLock lock(&mu_);
  UnhashLocked(const_cast<Dentry&>(dentry));
}

void DentryCache::Delete(const Dentry& dentry) {
  Forget(dentry);
  std::vector<RefPtr<Dentry>> below = {RefPtr<Dentry>(const_cast<Dentry*>(&dentry))};
  while (!below.empty()) {
    const RefPtr<Dentry> top = std::move(below.back());
    below.pop_back();
    top->deleted_.store(true, std::memory_order_release);
    if (!top->is_directory()) continue;
    // Normally empty: a directory that can be removed has no children, unless they went behind our
    // back.
    absl::ReaderMutexLock lock(&top->dir().children_mu);
    for (Dentry* const child : top->dir().children) below.emplace_back(child);
  }
}

void DentryCache::Move(Dentry& dentry, Dentry& new_dir, absl::string_view new_name) {
  RefPtr<Dentry> old_parent;  // dropped after the lock
  RefPtr<Dentry> new_parent(&new_dir);
  absl::MutexLock lock(&mu_);
  UnhashLocked(dentry);
  old_parent = std::exchange(dentry.parent_, std::move(new_parent));
  dentry.name_ = std::string(new_name);
  HashLocked(dentry);
}

void DentryCache::Exchange(Dentry& a, Dentry& b) {
  absl::MutexLock lock(&mu_);
  UnhashLocked(a);
  UnhashLocked(b);
  std::swap(a.parent_, b.parent_);
  std::swap(a.name_, b.name_);
  HashLocked(a);
  HashLocked(b);
}

size_t DentryCache::Purge() {
  size_t total = 0;
  for (;;) {
    Victims victims;
    {
      absl::MutexLock lock(&mu_);
      EvictLocked(lru_size_, victims);
      if (lru_size_ == 0 && victims.empty()) return total;
    }
    total += victims.size();
    Destroy(std::move(victims));  // its parents may be unreferenced now: look again
  }
}

DentryCache::Place DentryCache::PlaceOf(const Dentry& dentry) {
  absl::ReaderMutexLock lock(&mu_);
  return {.parent = dentry.parent_, .name = dentry.name_};
}

std::string DentryCache::PathOf(const Dentry& dentry) {
  std::vector<absl::string_view> names;
  absl::ReaderMutexLock lock(&mu_);
  for (const Dentry* at = &dentry; at->parent_; at = at->parent_.get()) names.push_back(at->name_);
  return absl::StrCat("/", absl::StrJoin(names.rbegin(), names.rend(), "/"));
}

size_t DentryCache::unreferenced() const {
  absl::MutexLock lock(&mu_);
  return lru_size_;
}

void DentryCache::DropReference(Dentry& dentry, Victims& victims) {
  // A reference that is the last one is dropped under the lock: until then nobody may destroy the
  // Dentry, and afterwards it is either in the list, where only this lock's holder destroys it, or
  // ours.
  absl::MutexLock lock(&mu_);
  if (dentry.refs_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  const bool hashed = dentry.hashed_.load(std::memory_order_relaxed);
  if (hashed && !dentry.deleted()) {
    LruTouchLocked(dentry);
    if (lru_size_ > capacity_) EvictLocked(lru_size_ - capacity_, victims);
    return;
  }
  // It has no name to be asked for by: its descriptor, and the disk space behind it, are released
  // now.
  if (hashed && !UnhashIfUnreferencedLocked(dentry)) return;
  LruRemoveLocked(dentry);
  victims.push_back(&dentry);
}

void DentryCache::EvictLocked(size_t count, Victims& victims) {
  for (; count > 0 && lru_oldest_ != nullptr; --count) {
    Dentry& oldest = *lru_oldest_;
    LruRemoveLocked(oldest);
    // One that was found again meanwhile comes back to the list with its last reference.
    if (oldest.refs_.load(std::memory_order_acquire) != 0) continue;
    if (UnhashIfUnreferencedLocked(oldest)) victims.push_back(&oldest);
  }
}

void DentryCache::LruTouchLocked(Dentry& dentry) {
  if (lru_newest_ == &dentry) return;
  LruRemoveLocked(dentry);
  dentry.lru_next_ = lru_newest_;
  dentry.lru_prev_ = nullptr;
  (lru_newest_ != nullptr ? lru_newest_->lru_prev_ : lru_oldest_) = &dentry;
  lru_newest_ = &dentry;
  dentry.in_lru_ = true;
  ++lru_size_;
}

void DentryCache::LruRemoveLocked(Dentry& dentry) {
  if (!dentry.in_lru_) return;
  (dentry.lru_prev_ != nullptr ? dentry.lru_prev_->lru_next_ : lru_newest_) = dentry.lru_next_;
  (dentry.lru_next_ != nullptr ? dentry.lru_next_->lru_prev_ : lru_oldest_) = dentry.lru_prev_;
  dentry.lru_next_ = dentry.lru_prev_ = nullptr;
  dentry.in_lru_ = false;
  --lru_size_;
}

bool DentryCache::UnhashIfUnreferencedLocked(Dentry& dentry) {
  DirState& state = dentry.parent_->dir();
  absl::MutexLock lock(&state.children_mu);
  if (dentry.refs_.load(std::memory_order_acquire) != 0) return false;
  state.children.erase(&dentry);
  dentry.hashed_.store(false, std::memory_order_relaxed);
  return true;
}

void DentryCache::UnhashLocked(Dentry& dentry) {
  if (!dentry.parent_) return;
  DirState& state = dentry.parent_->dir();
  absl::MutexLock lock(&state.children_mu);
  if (!dentry.hashed_.load(std::memory_order_relaxed)) return;
  state.children.erase(&dentry);
  dentry.hashed_.store(false, std::memory_order_relaxed);
}

void DentryCache::HashLocked(Dentry& dentry) {
  DirState& state = dentry.parent_->dir();
  absl::MutexLock lock(&state.children_mu);
  dentry.hashed_.store(state.children.insert(&dentry).second, std::memory_order_relaxed);
}

void DentryCache::Destroy(Victims victims) {
  while (!victims.empty()) {
    Dentry* const dentry = victims.back();
    victims.pop_back();
    Dentry* const parent = dentry->parent_.Release();
    delete dentry;
    size_.fetch_sub(1, std::memory_order_relaxed);
    if (parent != nullptr) DropReference(*parent, victims);
  }
}

}  // namespace gofer::fs
