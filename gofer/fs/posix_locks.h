// PosixLocks: the byte-range locks of one FUSE session's clients, held on the host as locks of open
// file descriptions, so that other sessions and the host see them.
//
// An owner is a number that the client gives: a process, mostly. Each owner that holds a lock of a
// file has a descriptor of its own for it; when that is closed, so are its locks. Which bytes it
// has locked is remembered beside the host's own list, which cannot be asked for.
//
// Owner:   the Session; ends before the Filesystem, and releases every lock with it.
// Threads: safe. Locks: mu_ is a leaf; nothing is opened, locked or closed under it. Held::mu keeps
//          the host and what is remembered in step: it is held across the host's call, which never
//          waits for a lock, and stalls only the same owner of the same file.
// Errors:  the host's errno; EAGAIN: another owner or the host holds a lock that is in the way.
// Source:  spec/fuse.md s.15; fcntl(2), "Open file description locks".

#ifndef GOFER_FS_POSIX_LOCKS_H_
#define GOFER_FS_POSIX_LOCKS_H_

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fs {

// The stretches of one file that one owner has locked: apart from each other and ascending.
using LockRanges = std::vector<LockRange>;

// What they are after the owner has set `range`, or has unlocked it: as POSIX has it, the newest
// setting of a byte counts, and neighbours of one type are one.
void ApplyLock(LockRanges& ranges, const LockRange& range);

class PosixLocks {
 public:
  explicit PosixLocks(Filesystem* filesystem) : filesystem_(*filesystem) {}
  PosixLocks(const PosixLocks&) = delete;
  PosixLocks& operator=(const PosixLocks&) = delete;

  // The lock that is in the way of this one; its type is F_UNLCK if there is none.
  ErrnoOr<LockRange> Test(Dentry& dentry, uint64_t owner, const LockRange& range);
  // Sets or, by F_UNLCK, takes away. Never waits: who wants to wait tries again.
  ErrnoOr<void> Set(Dentry& dentry, uint64_t owner, const LockRange& range);
  // Ends all locks of an owner on a file, as closing any descriptor of the file does.
  void Release(const Dentry& dentry, uint64_t owner);
  // Ends all locks.
  void Clear();

  size_t size() const;

  // ---- saving and handing over, while no request is served

  struct OfOwner {
    RefPtr<Dentry> dentry;
    uint64_t owner = 0;
    LockRanges ranges;
  };
  // Those that have locked anything.
  std::vector<OfOwner> All() const;
  // Gives the host's locks up and remembers them: a successor can take them.
  void LetGo();
  // Takes them again. Those whom somebody else was faster than are not held any more: each of them
  // that is returned has lost the ranges it comes with.
  std::vector<OfOwner> TakeAgain();

 private:
  struct Key {
    const Inode* inode;
    uint64_t owner;
    friend bool operator==(const Key&, const Key&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const Key& key) {
      return H::combine(std::move(h), key.inode, key.owner);
    }
  };
  struct Held : RefCounted<Held> {
    explicit Held(RefPtr<Handle> opened) : handle(std::move(opened)) {}

    const RefPtr<Handle> handle;
    mutable absl::Mutex mu;
    LockRanges ranges ABSL_GUARDED_BY(mu);
  };

  // What the owner has of the file, or null.
  RefPtr<Held> Find(const Dentry& dentry, uint64_t owner) const ABSL_LOCKS_EXCLUDED(mu_);
  ErrnoOr<RefPtr<Held>> FindOrOpen(Dentry& dentry, uint64_t owner) ABSL_LOCKS_EXCLUDED(mu_);
  ErrnoOr<void> SetAndRemember(Held& held, const LockRange& range);
  std::vector<std::pair<uint64_t, RefPtr<Held>>> Everybody() const ABSL_LOCKS_EXCLUDED(mu_);

  Filesystem& filesystem_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Key, RefPtr<Held>> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::fs

#endif  // GOFER_FS_POSIX_LOCKS_H_
