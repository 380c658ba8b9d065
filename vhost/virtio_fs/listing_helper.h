// ListingHelper: has a worker look up what a long listing comes to next, beside the ring's thread,
// which serves it.
//
// Owner:   a QueueServer; the session and the pool outlive it. Threads: safe.
// Locks:   mu_ is a leaf.

#ifndef VHOST_VIRTIO_FS_LISTING_HELPER_H_
#define VHOST_VIRTIO_FS_LISTING_HELPER_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/scratch.h"
#include "fuse/session/session.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/look_ahead.h"
#include "vhost/virtio_fs/worker_pool.h"

namespace gofer::virtio_fs {

class ListingHelper final : public fs::LookAhead::Helpers, private Helped {
 public:
  ListingHelper(fuse::Session& session, WorkerPool& workers)
      : session_(session), workers_(workers) {}
  ListingHelper(const ListingHelper&) = delete;
  ListingHelper& operator=(const ListingHelper&) = delete;
  // Waits for the worker.
  ~ListingHelper() { workers_.Dismiss(*this); }

  void Ask(RefPtr<fs::LookAhead> ahead) override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Help(fuse::Scratch& scratch) override ABSL_LOCKS_EXCLUDED(mu_);

  fuse::Session& session_;
  WorkerPool& workers_;
  absl::Mutex mu_;
  // The one that was asked for last, until a worker takes it.
  RefPtr<fs::LookAhead> asked_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_LISTING_HELPER_H_
