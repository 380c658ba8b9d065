// Dentry: a name in a directory, pointing to an Inode. DentryCache: the tree's bookkeeping, and the
//         Dentries that nobody refers to any more but may be asked for again.
//
// There is one Dentry per place in the served tree, whoever looks: several connections that overlap
// share it, so a rename or unlink through one is seen by all. The tree holds what is referenced,
// its ancestors, and a bounded number of unreferenced Dentries.
//
// There may be a million of them, so a Dentry is 36 bytes and its name behind them; what only
// directories in use have, and what only unreferenced ones have, is elsewhere.
//
// Owner:   a RefPtr keeps a Dentry and its ancestors. The parent's map of children is weak. With
//          its last reference a Dentry goes to the cache, or is destroyed when it has no name any
//          more.
// Threads: safe.
// Locks:   in this order, see filesystem.h:
//            op_mu      of a directory: exclusive while names in it are made, removed or moved, and
//                       then the only one that is held across host calls; shared while a name that
//                       was looked up is put into the tree. See dir_lock.h.
//            DentryCache::mu_  parents, names, the LRU list.
//            children_mu  of a directory: its map. A leaf. No reference is dropped under it.
// Source:  spec/lisafs.md s.6.

#ifndef GOFER_FS_DENTRY_H_
#define GOFER_FS_DENTRY_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/inode.h"

namespace gofer::fs {

class Dentry;
class DentryCache;

// Finds a Dentry in its parent's map by name, without building a string.
struct DentryNameHash {
  using is_transparent = void;
  size_t operator()(absl::string_view name) const { return absl::HashOf(name); }
  size_t operator()(const Dentry* dentry) const;
};
struct DentryNameEq {
  using is_transparent = void;
  bool operator()(const Dentry* a, const Dentry* b) const { return a == b; }
  bool operator()(const Dentry* a, absl::string_view b) const;
  bool operator()(absl::string_view a, const Dentry* b) const { return (*this)(b, a); }
};

// What only a directory has in which a name was looked for.
struct DirState {
  absl::Mutex op_mu;
  // How often names in it were changed by us; raised under op_mu. See dir_lock.h.
  std::atomic<uint64_t> changes{0};
  absl::Mutex children_mu ABSL_ACQUIRED_AFTER(op_mu);
  absl::flat_hash_set<Dentry*, DentryNameHash, DentryNameEq> children ABSL_GUARDED_BY(children_mu);
};

class Dentry {
 public:
  Inode& inode() const { return *inode_; }
  uint32_t type() const { return inode_->type(); }
  bool is_directory() const { return inode_->is_directory(); }
  // Only of a directory.
  DirState& dir() const {
    DirState* const dir = dir_.load(std::memory_order_acquire);
    return dir != nullptr ? *dir : MakeDir();
  }

  // A client removed it, or put something else in its place. It never gets its name back.
  bool deleted() const { return deleted_.load(std::memory_order_acquire); }
  // A lookup of its name in its directory finds it. A hint, but for who holds both still.
  bool findable() const { return hashed_.load(std::memory_order_relaxed); }

  void Ref() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() const;
  // Whether somebody else than the caller refers to it. A hint: it may change at once.
  bool shared() const { return refs_.load(std::memory_order_relaxed) > 1; }

 private:
  friend class DentryCache;
  friend struct DentryNameHash;
  friend struct DentryNameEq;

  // The shortest room for a name: that of a pointer to a longer one.
  static constexpr size_t kMinRoom = sizeof(char*);

  // Allocated with room for the name, and maybe a somewhat longer one.
  static Dentry* New(RefPtr<Dentry> parent, absl::string_view name, RefPtr<Inode> inode);
  static void Delete(Dentry* dentry);

  Dentry(RefPtr<Dentry> parent, RefPtr<Inode> inode, size_t room);
  ~Dentry();

  DirState& MakeDir() const;
  // Where names lie that are not too long for it. Begins in the Dentry and goes on behind it.
  char* room() const {
    return reinterpret_cast<char*>(const_cast<Dentry*>(this)) + offsetof(Dentry, room_);
  }
  char* long_name() const;
  absl::string_view name() const { return {is_long_ ? long_name() : room(), name_size_}; }
  void SetName(absl::string_view name);

  const RefPtr<Inode> inode_;
  mutable std::atomic<DirState*> dir_{nullptr};  // owned; set once
  // Changed under DentryCache::mu_ and children_mu of the old and the new parent; read under any of
  // them. The name too.
  RefPtr<Dentry> parent_;  // null: the root
  mutable std::atomic<uint32_t> refs_{1};
  uint32_t lru_slot_ = 0;  // DentryCache::mu_; 0: not in the list
  std::atomic<bool> deleted_{false};
  // In its parent's map. Cleared by who holds a reference, or by the cache when there are none.
  std::atomic<bool> hashed_{false};
  // A name that grew past its room by renaming is elsewhere, and the room holds a pointer to it.
  bool is_long_ = false;
  uint8_t name_size_ = 0;
  const uint8_t room_size_;
  [[maybe_unused]] char room_[3];  // and more behind the Dentry, see New
};

inline size_t DentryNameHash::operator()(const Dentry* dentry) const {
  return absl::HashOf(dentry->name());
}
inline bool DentryNameEq::operator()(const Dentry* a, absl::string_view b) const {
  return a->name() == b;
}

class DentryCache {
 public:
  // Keeps up to `capacity` Dentries that nobody refers to.
  explicit DentryCache(size_t capacity) : capacity_(capacity) {}
  DentryCache(const DentryCache&) = delete;
  DentryCache& operator=(const DentryCache&) = delete;
  ~DentryCache();

  RefPtr<Dentry> MakeRoot(RefPtr<Inode> inode);
  // The child of that name, or null. Takes children_mu.
  RefPtr<Dentry> Find(const Dentry& dir, absl::string_view name);
  // The child of that name and Inode: the one that is there, or a new one in place of one with
  // another Inode.
  RefPtr<Dentry> Add(Dentry& dir, absl::string_view name, RefPtr<Inode> inode);
  // A Dentry of a file that does not have this name any more, or never had one (then it is empty):
  // deleted from the start.
  RefPtr<Dentry> AddDeleted(Dentry& dir, absl::string_view last_name, RefPtr<Inode> inode);
  // A Dentry that no lookup finds: what stands in for a file that was not found at a restore.
  RefPtr<Dentry> AddStale(Dentry& dir, absl::string_view name, RefPtr<Inode> inode);
  // Takes a Dentry out of the tree because its name leads elsewhere by now. It is not deleted: its
  // clients go on with the file they have.
  void Forget(const Dentry& dentry) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes it out because a client removed it, and marks it and all below it deleted.
  void Delete(const Dentry& dentry) ABSL_LOCKS_EXCLUDED(mu_);
  // Gives it a new place. What was there must have been deleted, moved or forgotten before, or is
  // found there still. False if the place lies below itself, which a tree that others change too
  // may look like: then it is only taken out.
  bool Move(Dentry& dentry, Dentry& new_dir, absl::string_view new_name) ABSL_LOCKS_EXCLUDED(mu_);
  // Both change places.
  void Exchange(Dentry& a, Dentry& b) ABSL_LOCKS_EXCLUDED(mu_);

  // Drops every unreferenced Dentry; returns how many.
  size_t Purge() ABSL_LOCKS_EXCLUDED(mu_);

  // What lookups in a directory have found, in no order.
  std::vector<RefPtr<Dentry>> ChildrenOf(const Dentry& dir);
  // What is in use, not deleted, and not findable: their names lead elsewhere by now, or another
  // Dentry has their place.
  std::vector<RefPtr<Dentry>> Astray() ABSL_LOCKS_EXCLUDED(mu_);

  struct Place {
    RefPtr<Dentry> parent;  // null: the root
    std::string name;
    friend bool operator==(const Place&, const Place&) = default;
  };
  Place PlaceOf(const Dentry& dentry) ABSL_LOCKS_EXCLUDED(mu_);
  // "/a/b/c" below the root; for messages and for saving.
  std::string PathOf(const Dentry& dentry) ABSL_LOCKS_EXCLUDED(mu_);

  // All Dentries that exist, and those of them that only the cache holds.
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  size_t unreferenced() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class Dentry;

  // Out of the tree and unreferenced; whoever holds the list destroys them after the lock.
  using Victims = absl::InlinedVector<Dentry*, 8>;

  void DropReference(Dentry& dentry, Victims& victims) ABSL_LOCKS_EXCLUDED(mu_);
  // Takes up to `count` Dentries off the old end of the list and out of the tree.
  void EvictLocked(size_t count, Victims& victims) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The list is a ring of slots with its ends at slot 0; slots that are free form a chain.
  struct LruSlot {
    Dentry* dentry;
    uint32_t newer;
    uint32_t older;
  };
  void LruTouchLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void LruRemoveLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes it out of its parent's map, if it is there, when nobody refers to it; false if a lookup
  // was faster.
  bool UnhashIfUnreferencedLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void UnhashLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void HashLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Brings astray_ up to date with one Dentry.
  void NoteLocked(Dentry& dentry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // No recursion: how deep the tree is was the client's choice.
  void Destroy(Victims victims) ABSL_LOCKS_EXCLUDED(mu_);

  const size_t capacity_;
  mutable absl::Mutex mu_;
  std::vector<LruSlot> lru_ ABSL_GUARDED_BY(mu_) = {{nullptr, 0, 0}};
  uint32_t lru_free_ ABSL_GUARDED_BY(mu_) = 0;
  size_t lru_size_ ABSL_GUARDED_BY(mu_) = 0;
  // Few, as a rule none. Each is referenced: one leaves with its last reference.
  absl::flat_hash_set<Dentry*> astray_ ABSL_GUARDED_BY(mu_);
  std::atomic<size_t> size_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_DENTRY_H_
