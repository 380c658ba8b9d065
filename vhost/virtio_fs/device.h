// Device: a virtio-fs device: the queues that a front-end has set up, served by a FUSE session.
//
// Queue 0 is for what must never wait behind ordinary requests: FORGET. All others are equal. Each
// has a thread of its own while it is attached; requests that may wait for a disk share a pool of
// workers. A device that nobody uses has no threads.
//
// Owner:   the composition root; the session outlives it, and it outlives the Backend.
// Threads: driven by the Backend's control thread.
// Source:  VIRTIO 1.2 s.5.11; spec/vhost-user-fs.md s.12, 18 and 20.

#ifndef VHOST_VIRTIO_FS_DEVICE_H_
#define VHOST_VIRTIO_FS_DEVICE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "fuse/session/session.h"
#include "gofer/base/unique_fd.h"
#include "vhost/user/backend.h"
#include "vhost/user/device.h"
#include "vhost/virtio_fs/config.h"
#include "vhost/virtio_fs/queue_server.h"
#include "vhost/virtio_fs/slot.h"
#include "vhost/virtio_fs/worker_pool.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::virtio_fs {

struct DeviceOptions {
  // For front-ends that take the configuration space from the device; empty: there is none.
  std::string tag = {};
  uint32_t num_request_queues = 1;  // what the configuration space says
  // Requests that wait for a disk at the same time; 0: each queue waits for its own.
  size_t max_workers = 16;
  // Requests taken from the rings and not answered yet.
  size_t max_requests = SlotPool::kMaxSlots;
  // Workers that help a queue that is always full.
  size_t max_helpers = DefaultHelpers();

  // The session was restored and is for the guest to go on with: a reset before the first ring is
  // served, which front-ends begin with, leaves it as it is.
  bool restored = false;

  // As many as leave the guest half of the processors.
  static size_t DefaultHelpers();
};

class Device final : public vhost::user::Device {
 public:
  // Requests that a ring's thread takes from it at once.
  static constexpr size_t kTakenAtOnce = QueueServer::kBatch;

  Device(fuse::Session* session, const DeviceOptions& options);

  uint64_t features() const override { return 0; }
  std::span<const std::byte> config() const override;
  absl::Status Attach(uint32_t index, vhost::VirtQueue& queue, BorrowedFd kick) override;
  void Wake(uint32_t index) override;
  void Detach(uint32_t index) override;
  void CancelWaiting() override { session_.CancelDeferred(); }
  void Reset() override {
    if (!awaits_guest_) session_.Reset();
  }

  const SlotPool& slots() const { return slots_; }
  // Null: each queue waits for its own.
  const WorkerPool* workers() const { return workers_.has_value() ? &*workers_ : nullptr; }

 private:
  fuse::Session& session_;
  const size_t max_helpers_;
  bool awaits_guest_;  // for whom the session was restored
  std::optional<Config> config_;
  SlotPool slots_;
  std::optional<WorkerPool> workers_;
  std::array<std::unique_ptr<QueueServer>, vhost::user::kMaxQueues> servers_;
};

}  // namespace gofer::virtio_fs

#endif  // VHOST_VIRTIO_FS_DEVICE_H_
