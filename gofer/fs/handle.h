// Handle: an open file of a client, with the access it was opened for.
//
// Its host descriptor may be given to the client (donated): then the client shares that open file
// description and could change its flags or position at will, so the Handle lets go of it and opens
// one of its own when it first needs one. For a donated regular file that is usually never.
//
// Owner:   kept by RefPtr: a LISAFS OpenFd, a FUSE handle table. Keeps its Dentry.
// Threads: safe. The position of a directory belongs to one reader at a time, see
//          Filesystem::ReadDir.

#ifndef GOFER_FS_HANDLE_H_
#define GOFER_FS_HANDLE_H_

#include <fcntl.h>

#include <atomic>
#include <cstddef>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/dentry.h"

namespace gofer::fs {

class Filesystem;

class Handle : public RefCounted<Handle> {
 public:
  Dentry& dentry() const { return *dentry_; }
  // O_RDONLY, O_WRONLY, O_RDWR or 3, which opens for neither.
  int access() const { return access_; }
  bool readable() const { return access_ == O_RDONLY || access_ == O_RDWR; }
  bool writable() const { return access_ == O_WRONLY || access_ == O_RDWR; }

  // The host descriptor to donate: ours no longer. Before any other thread can know of the Handle.
  UniqueFd Donate() {
    open_fds_.fetch_sub(1, std::memory_order_relaxed);
    return UniqueFd(fd_.exchange(-1, std::memory_order_acq_rel));
  }

  ~Handle() {
    if (const UniqueFd closing(fd_.load(std::memory_order_relaxed)); closing.valid()) {
      open_fds_.fetch_sub(1, std::memory_order_relaxed);
    }
  }

 private:
  friend class Filesystem;

  // `open_fds` counts the descriptors that Handles hold; the Filesystem's.
  Handle(RefPtr<Dentry> dentry, int access, UniqueFd fd, std::atomic<size_t>& open_fds)
      : dentry_(std::move(dentry)), access_(access), open_fds_(open_fds), fd_(fd.Release()) {
    open_fds_.fetch_add(1, std::memory_order_relaxed);
  }

  const RefPtr<Dentry> dentry_;
  const int access_;
  std::atomic<size_t>& open_fds_;
  std::atomic<int> fd_;  // -1: donated; from then on changes once, to one of our own
  absl::Mutex position_mu_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_HANDLE_H_
