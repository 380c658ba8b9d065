// Handle: an open file of a client, with the access it was opened for.
//
// Its host descriptor may be given to the client (donated): then the client shares that open file
// description and could change its flags or position at will, so the Handle lets go of it and opens
// one of its own when it first needs one. For a donated regular file that is usually never.
//
// Owner:   kept by RefPtr: a LISAFS OpenFd, a FUSE handle table. Keeps its Dentry.
// Threads: safe. The position of a directory belongs to one reader at a time, see
//          Filesystem::ReadDir.
// Locks:   flock_mu_ is held across flock(2), which never waits, so that what is remembered of it
//          is what the host did last. It stalls only those who lock the same open file.

#ifndef GOFER_FS_HANDLE_H_
#define GOFER_FS_HANDLE_H_

#include <fcntl.h>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/dir_cursor.h"
#include "gofer/fs/look_ahead.h"

namespace gofer::fs {

class Filesystem;

class Handle : public RefCounted<Handle> {
 public:
  Dentry& dentry() const { return *dentry_; }
  // O_RDONLY, O_WRONLY, O_RDWR or 3, which opens for neither.
  int access() const { return flags_ & O_ACCMODE; }
  bool readable() const { return access() == O_RDONLY || access() == O_RDWR; }
  bool writable() const { return access() == O_WRONLY || access() == O_RDWR; }
  // The flags that count, as it was opened with them.
  int flags() const { return flags_; }
  bool direct() const { return (flags_ & O_DIRECT) != 0; }
  // The lock of flock(2) that it has: F_RDLCK, F_WRLCK, or F_UNLCK for none.
  short flock() const ABSL_LOCKS_EXCLUDED(flock_mu_) {
    const absl::MutexLock lock(&flock_mu_);
    return flock_;
  }

  // The host descriptor to donate: ours no longer. Before any other thread can know of the Handle.
  UniqueFd Donate() {
    open_fds_.fetch_sub(1, std::memory_order_relaxed);
    return UniqueFd(fd_.exchange(-1, std::memory_order_acq_rel));
  }

  // What is written through it is not noted while it is open: a save looks at such a file anyway.
  // So this is what a save must see when it does not see the Handle any more.
  void NoteChanges() const {
    if (writable()) dentry_->inode().NoteChange();
  }

  ~Handle() {
    NoteChanges();
    if (const UniqueFd closing(fd_.load(std::memory_order_relaxed)); closing.valid()) {
      open_fds_.fetch_sub(1, std::memory_order_relaxed);
    }
  }

 private:
  friend class Filesystem;

  // `open_fds` counts the descriptors that Handles hold; the Filesystem's.
  Handle(RefPtr<Dentry> dentry, int flags, UniqueFd fd, std::atomic<size_t>& open_fds)
      : dentry_(std::move(dentry)), flags_(flags), open_fds_(open_fds), fd_(fd.Release()) {
    open_fds_.fetch_add(1, std::memory_order_relaxed);
  }

  const RefPtr<Dentry> dentry_;
  const int flags_;
  std::atomic<size_t>& open_fds_;
  std::atomic<int> fd_;  // -1: donated; from then on changes once, to one of our own
  absl::Mutex position_mu_;
  std::unique_ptr<DirCursor> cursor_ ABSL_GUARDED_BY(position_mu_);  // of ReadDirFrom
  RefPtr<LookAhead> ahead_ ABSL_GUARDED_BY(position_mu_);            // of LookupListed
  mutable absl::Mutex flock_mu_;
  short flock_ ABSL_GUARDED_BY(flock_mu_) = F_UNLCK;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_HANDLE_H_
