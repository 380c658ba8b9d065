// PosixLocks: the byte-range locks of one FUSE session's clients, held on the host as locks of open
// file descriptions, so that other sessions and the host see them.
//
// An owner is a number that the client gives: a process, mostly. Each owner that holds a lock of a
// file has a descriptor of its own for it; when that is closed, so are its locks.
//
// Owner:   the Session; ends before the Filesystem, and releases every lock with it.
// Threads: safe. Locks: mu_ is a leaf; nothing is opened, locked or closed under it.
// Errors:  the host's errno; EAGAIN: another owner or the host holds a lock that is in the way.
// Source:  spec/fuse.md s.15; fcntl(2), "Open file description locks".

#ifndef GOFER_FS_POSIX_LOCKS_H_
#define GOFER_FS_POSIX_LOCKS_H_

#include <cstddef>
#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fs {

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

  // The owner's open file, or null.
  RefPtr<Handle> Find(const Dentry& dentry, uint64_t owner) const ABSL_LOCKS_EXCLUDED(mu_);
  ErrnoOr<RefPtr<Handle>> FindOrOpen(Dentry& dentry, uint64_t owner) ABSL_LOCKS_EXCLUDED(mu_);

  Filesystem& filesystem_;
  mutable absl::Mutex mu_;
  absl::flat_hash_map<Key, RefPtr<Handle>> held_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::fs

#endif  // GOFER_FS_POSIX_LOCKS_H_
