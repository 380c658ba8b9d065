#include "gofer/fs/dentry.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "glog/logging.h"
#include "gofer/base/name.h"

namespace gofer::fs {

Dentry* Dentry::New(RefPtr<Dentry> parent, absl::string_view name, RefPtr<Inode> inode) {
  static_assert(offsetof(Dentry, room_) == 37 && sizeof(Dentry) == 40,
                "a million of them are held");
  // What the allocator would round up to is room for a longer name.
  constexpr size_t kGranule = 16;
  constexpr size_t kHeader = 8;
  const size_t wanted = offsetof(Dentry, room_) + std::max(name.size(), kMinRoom) + kHeader;
  const size_t size = (wanted + kGranule - 1) / kGranule * kGranule - kHeader;
  const size_t room = std::min<size_t>(size - offsetof(Dentry, room_), kMaxNameBytes);
  void* const memory = ::operator new(size);
  auto* const dentry = new (memory) Dentry(std::move(parent), std::move(inode), room);
  dentry->SetName(name);
  return dentry;
}

void Dentry::Delete(Dentry* dentry) {
  dentry->~Dentry();
  ::operator delete(dentry);
}

Dentry::Dentry(RefPtr<Dentry> parent, RefPtr<Inode> inode, size_t room)
    : inode_(std::move(inode)),
      parent_(std::move(parent)),
      room_size_(static_cast<uint8_t>(room)) {}

Dentry::~Dentry() {
  delete dir_.load(std::memory_order_relaxed);
  if (is_long_) delete[] long_name();
}

DirState& Dentry::MakeDir() const {
  auto* const made = new DirState;
  DirState* present = nullptr;
  if (dir_.compare_exchange_strong(present, made, std::memory_order_acq_rel)) return *made;
  delete made;  // another thread was first
  return *present;
}

char* Dentry::long_name() const {
  char* name;
  std::memcpy(&name, room(), sizeof(name));  // it is not aligned
  return name;
}

void Dentry::SetName(absl::string_view name) {
  if (is_long_) delete[] long_name();
  is_long_ = name.size() > room_size_;
  name_size_ = static_cast<uint8_t>(name.size());
  if (is_long_) {
    char* const copy = new char[name.size()];
    std::memcpy(copy, name.data(), name.size());
    std::memcpy(room(), &copy, sizeof(copy));
  } else {
    std::memcpy(room(), name.data(), name.size());
  }
}

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
  DentryCache& cache = *inode_->table().dentries();
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
  return RefPtr<Dentry>::Adopt(Dentry::New(nullptr, "", std::move(inode)));
}

RefPtr<Dentry> DentryCache::Find(const Dentry& dir, absl::string_view name) {
  DirState& state = dir.dir();
  absl::ReaderMutexLock lock(&state.children_mu);
  const auto it = state.children.find(name);
  return it == state.children.end() ? nullptr : RefPtr<Dentry>(*it);
}

RefPtr<Dentry> DentryCache::Add(Dentry& dir, absl::string_view name, RefPtr<Inode> inode) {
  auto added = RefPtr<Dentry>::Adopt(Dentry::New(RefPtr<Dentry>(&dir), name, std::move(inode)));
  size_.fetch_add(1, std::memory_order_relaxed);
  RefPtr<Dentry> replaced;  // dropped after the lock
  {
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
  }
  if (replaced) {
    absl::MutexLock lock(&mu_);
    NoteLocked(*replaced);
  }
  return added;
}

RefPtr<Dentry> DentryCache::AddDeleted(Dentry& dir, absl::string_view last_name,
                                       RefPtr<Inode> inode) {
  auto added =
      RefPtr<Dentry>::Adopt(Dentry::New(RefPtr<Dentry>(&dir), last_name, std::move(inode)));
  added->deleted_.store(true, std::memory_order_release);
  size_.fetch_add(1, std::memory_order_relaxed);
  return added;
}

RefPtr<Dentry> DentryCache::AddStale(Dentry& dir, absl::string_view name, RefPtr<Inode> inode) {
  auto added = RefPtr<Dentry>::Adopt(Dentry::New(RefPtr<Dentry>(&dir), name, std::move(inode)));
  size_.fetch_add(1, std::memory_order_relaxed);
  return added;
}

void DentryCache::Forget(const Dentry& dentry) {
  auto& forgotten = const_cast<Dentry&>(dentry);
  absl::MutexLock lock(&mu_);
  UnhashLocked(forgotten);
  NoteLocked(forgotten);
}

void DentryCache::Delete(const Dentry& dentry) {
  std::vector<RefPtr<Dentry>> below = {RefPtr<Dentry>(const_cast<Dentry*>(&dentry))};
  {
    absl::MutexLock lock(&mu_);
    UnhashLocked(*below.front());
    below.front()->deleted_.store(true, std::memory_order_release);
    NoteLocked(*below.front());
  }
  while (!below.empty()) {
    const RefPtr<Dentry> top = std::move(below.back());
    below.pop_back();
    top->deleted_.store(true, std::memory_order_release);
    // Normally none: a directory that can be removed has no children, unless they went behind our
    // back.
    for (RefPtr<Dentry>& child : ChildrenOf(*top)) below.push_back(std::move(child));
  }
}

bool DentryCache::Move(Dentry& dentry, Dentry& new_dir, absl::string_view new_name) {
  RefPtr<Dentry> old_parent;  // both dropped after the lock
  RefPtr<Dentry> new_parent(&new_dir);
  absl::MutexLock lock(&mu_);
  UnhashLocked(dentry);
  bool is_below = false;
  if (dentry.is_directory()) {
    for (const Dentry* at = &new_dir; at != nullptr && !is_below; at = at->parent_.get()) {
      is_below = at == &dentry;
    }
  }
  if (!is_below) {
    old_parent = std::exchange(dentry.parent_, std::move(new_parent));
    dentry.SetName(new_name);
    HashLocked(dentry);
  }
  NoteLocked(dentry);
  return !is_below;
}

void DentryCache::Exchange(Dentry& a, Dentry& b) {
  absl::MutexLock lock(&mu_);
  UnhashLocked(a);
  UnhashLocked(b);
  std::swap(a.parent_, b.parent_);
  const std::string name_of_a(a.name());
  a.SetName(b.name());
  b.SetName(name_of_a);
  HashLocked(a);
  HashLocked(b);
  NoteLocked(a);
  NoteLocked(b);
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

std::vector<RefPtr<Dentry>> DentryCache::ChildrenOf(const Dentry& dir) {
  std::vector<RefPtr<Dentry>> children;
  DirState* const state = dir.dir_.load(std::memory_order_acquire);
  if (state == nullptr) return children;
  absl::ReaderMutexLock lock(&state->children_mu);
  children.reserve(state->children.size());
  for (Dentry* const child : state->children) children.emplace_back(child);
  return children;
}

std::vector<RefPtr<Dentry>> DentryCache::Astray() {
  std::vector<RefPtr<Dentry>> astray;
  absl::MutexLock lock(&mu_);
  astray.reserve(astray_.size());
  for (Dentry* const dentry : astray_) astray.emplace_back(dentry);
  return astray;
}

DentryCache::Place DentryCache::PlaceOf(const Dentry& dentry) {
  absl::ReaderMutexLock lock(&mu_);
  return {.parent = dentry.parent_, .name = std::string(dentry.name())};
}

std::string DentryCache::PathOf(const Dentry& dentry) {
  std::vector<absl::string_view> names;
  absl::ReaderMutexLock lock(&mu_);
  for (const Dentry* at = &dentry; at->parent_; at = at->parent_.get()) names.push_back(at->name());
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
  if (dentry.findable() && !dentry.deleted()) {
    LruTouchLocked(dentry);
    if (lru_size_ > capacity_) EvictLocked(lru_size_ - capacity_, victims);
    return;
  }
  // It has no name to be asked for by: its descriptor, and the disk space behind it, are released
  // now. Unless Add has found it a moment ago and put another in its place, without mu_: then that
  // thread has a reference by now, and comes here with it.
  if (dentry.parent_ && !UnhashIfUnreferencedLocked(dentry)) return;
  astray_.erase(&dentry);
  LruRemoveLocked(dentry);
  victims.push_back(&dentry);
}

void DentryCache::EvictLocked(size_t count, Victims& victims) {
  for (; count > 0 && lru_size_ > 0; --count) {
    Dentry& oldest = *lru_[lru_[0].newer].dentry;
    LruRemoveLocked(oldest);
    // One that was found again meanwhile comes back to the list with its last reference.
    if (oldest.refs_.load(std::memory_order_acquire) != 0) continue;
    if (UnhashIfUnreferencedLocked(oldest)) victims.push_back(&oldest);
  }
}

void DentryCache::LruTouchLocked(Dentry& dentry) {
  if (dentry.lru_slot_ != 0 && lru_[0].older == dentry.lru_slot_) return;  // the newest
  LruRemoveLocked(dentry);
  uint32_t slot = lru_free_;
  if (slot != 0) {
    lru_free_ = lru_[slot].older;
  } else {
    slot = static_cast<uint32_t>(lru_.size());
    lru_.emplace_back();
  }
  const uint32_t newest = lru_[0].older;
  lru_[slot] = {.dentry = &dentry, .newer = 0, .older = newest};
  lru_[newest].newer = slot;
  lru_[0].older = slot;
  dentry.lru_slot_ = slot;
  ++lru_size_;
}

void DentryCache::LruRemoveLocked(Dentry& dentry) {
  const uint32_t slot = std::exchange(dentry.lru_slot_, 0);
  if (slot == 0) return;
  const uint32_t newer = lru_[slot].newer;
  const uint32_t older = lru_[slot].older;
  lru_[newer].older = older;
  lru_[older].newer = newer;
  lru_[slot] = {.dentry = nullptr, .newer = 0, .older = lru_free_};
  lru_free_ = slot;
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

void DentryCache::NoteLocked(Dentry& dentry) {
  if (!dentry.parent_ || dentry.deleted() || dentry.findable()) {
    astray_.erase(&dentry);
  } else if (!dentry.inode().lost()) {
    astray_.insert(&dentry);
  }
}

void DentryCache::HashLocked(Dentry& dentry) {
  DirState& state = dentry.parent_->dir();
  absl::MutexLock lock(&state.children_mu);
  // The set tells Dentries apart, not names.
  const bool is_free = state.children.find(dentry.name()) == state.children.end();
  if (is_free) state.children.insert(&dentry);
  dentry.hashed_.store(is_free, std::memory_order_relaxed);
}

void DentryCache::Destroy(Victims victims) {
  while (!victims.empty()) {
    Dentry* const dentry = victims.back();
    victims.pop_back();
    Dentry* const parent = dentry->parent_.Release();
    Dentry::Delete(dentry);
    size_.fetch_sub(1, std::memory_order_relaxed);
    if (parent != nullptr) DropReference(*parent, victims);
  }
}

}  // namespace gofer::fs
