// QueueServer: the thread of one queue. It takes requests off the ring, serves them in place, and
// gives them back; only those that may wait for a disk go to a worker. While there are more than it
// can serve, and processors to spare, workers take from the ring too: Linux 6.1 uses one queue,
// however many processors it has. When all slots are in use, nothing is taken until one is free.
//
// Owner:   the Device, from Attach to Detach. Session, queue and pools outlive it.
// Threads: one of its own, and helping workers; Wake from any.
// Source:  spec/vhost-user-fs.md s.12.

#ifndef VHOST_VIRTIO_FS_QUEUE_SERVER_H_
#define VHOST_VIRTIO_FS_QUEUE_SERVER_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <optional>
#include <thread>

#include "absl/status/statusor.h"
#include "fuse/session/scratch.h"
#include "fuse/session/session.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/edge_poll.h"
#include "gofer/sys/event_fd.h"
#include "gofer/sys/spin_policy.h"
#include "vhost/virtio_fs/listing_helper.h"
#include "vhost/virtio_fs/slot.h"
#include "vhost/virtio_fs/worker_pool.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::virtio_fs {

class QueueServer final : private Helped {
 public:
  struct Options {
    // Without, the thread waits for the disk itself, and nobody helps.
    WorkerPool* workers = nullptr;
    size_t max_helpers = 0;
    // A worker may look up ahead what a long listing comes to.
    bool helps_listings = false;
    // Whether somebody waits for the answers, so that the next request may come soon.
    bool polls = true;
  };

  // Requests that are taken from the ring at once. Few: what one has taken, no other can help with.
  static constexpr size_t kBatch = 4;

  // Starts to serve. Without a `kick` it looks at the ring from time to time.
  static absl::StatusOr<std::unique_ptr<QueueServer>> Start(fuse::Session& session,
                                                            vhost::VirtQueue& queue,
                                                            BorrowedFd kick, SlotPool& slots,
                                                            const Options& options);
  QueueServer(const QueueServer&) = delete;
  QueueServer& operator=(const QueueServer&) = delete;
  // Ends after the request that it is at.
  ~QueueServer();

  // Looks at the queue anew.
  void Wake() { wake_.Raise(); }

 private:
  QueueServer(fuse::Session& session, vhost::VirtQueue& queue, bool has_kick, SlotPool& slots,
              const Options& options, sys::EdgePoll poll, sys::EventFd wake);

  void Run();
  // Gives the chains to take into, from the front of slots_ on, and their number: fewer than kBatch
  // when the pool is exhausted.
  size_t Refill(std::array<vhost::DescriptorChain*, kBatch>& chains);
  // Waits until there may be something to take.
  void Wait();
  void Help(fuse::Scratch& scratch) override;
  // The slot is null then, if it is needed until the request has ended elsewhere.
  void Serve(Slot*& slot, fuse::Serving serving, fuse::Scratch& scratch);

  fuse::Session& session_;
  vhost::VirtQueue& queue_;
  const bool has_kick_;
  SlotPool& pool_;
  const Options options_;
  sys::EdgePoll poll_;
  const sys::EventFd wake_;
  std::atomic<bool> ending_{false};
  // The thread's own.
  // A little less than a wake-up: more gave guests hardly anything and cost more processor time than
  // the peers need (tools/bench virtiofs).
  sys::SpinPolicy spin_{16'000};
  std::optional<ListingHelper> listing_helper_;
  fuse::Scratch scratch_;
  std::array<Slot*, kBatch> slots_ = {};
  std::thread thread_;
};

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_QUEUE_SERVER_H_
