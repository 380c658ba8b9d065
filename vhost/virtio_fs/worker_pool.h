// WorkerPool: threads for the requests that may wait for a disk, so that the rings do not, and for
// rings that have more than their own thread can serve. There are none before the first such
// request, and never more than were allowed.
//
// Owner:   the Device. Threads: Submit and AskForHelp from any, without ever waiting.
// Locks:   mu_ is a leaf.

#ifndef VHOST_VIRTIO_FS_WORKER_POOL_H_
#define VHOST_VIRTIO_FS_WORKER_POOL_H_

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/scratch.h"
#include "fuse/session/session.h"
#include "vhost/virtio_fs/slot.h"

namespace gofer::virtio_fs {

// What a worker can help with. Others' part of it is the pool's.
class Helped {
 public:
  // Does some of the work that there is, and returns when there is none.
  virtual void Help(fuse::Scratch& scratch) = 0;

 protected:
  Helped() = default;
  ~Helped() = default;

 private:
  friend class WorkerPool;
  std::atomic<size_t> helpers_{0};  // asked for or at work
};

class WorkerPool {
 public:
  WorkerPool(fuse::Session& session, size_t max_threads)
      : session_(session), max_threads_(max_threads) {}
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;
  // Nothing may be submitted any more; waits for what was.
  ~WorkerPool();

  // Serves the request, and completes it, on one of the threads.
  void Submit(Slot* slot) ABSL_LOCKS_EXCLUDED(mu_);

  size_t max_threads() const { return max_threads_; }
  size_t threads() const ABSL_LOCKS_EXCLUDED(mu_) {
    const absl::MutexLock lock(&mu_);
    return threads_.size();
  }

  // One more thread helps, soon, if `max_helpers` do not already.
  void AskForHelp(Helped& helped, size_t max_helpers) ABSL_LOCKS_EXCLUDED(mu_);
  // Nobody helps any more when it returns. Help has nothing left to do.
  void Dismiss(Helped& helped) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  bool HasWork() const ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return first_ != nullptr || !helped_.empty() || ending_;
  }
  // After there is one more thing to do.
  void StartThreadIfWanted() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  fuse::Session& session_;
  const size_t max_threads_;
  mutable absl::Mutex mu_;
  Slot* first_ ABSL_GUARDED_BY(mu_) = nullptr;
  Slot* last_ ABSL_GUARDED_BY(mu_) = nullptr;
  size_t waiting_ ABSL_GUARDED_BY(mu_) = 0;           // requests
  std::vector<Helped*> helped_ ABSL_GUARDED_BY(mu_);  // once for each helper that is to come
  size_t idle_ ABSL_GUARDED_BY(mu_) = 0;              // threads
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_WORKER_POOL_H_
