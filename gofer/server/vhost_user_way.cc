#include "gofer/server/vhost_user_way.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "fuse/session/lock_waiter.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/socket.h"
#include "vhost/virtqueue/descriptor_chain.h"

namespace gofer::server {
namespace {

// A monitor that has gone, and whoever waits for the process to end with it, wait no longer than
// this for requests that hang in the host's file system.
constexpr absl::Duration kGrace = absl::Milliseconds(1500);

}  // namespace

struct VhostUserWay::Served {
  Served(fs::Filesystem& filesystem, fuse::Session& session, const Options& options, bool restored)
      : device(&session, WithRestored(options.device, restored)),
        state(&filesystem, &session, options.state) {}

  static virtio_fs::DeviceOptions WithRestored(virtio_fs::DeviceOptions options, bool restored) {
    options.restored = restored;
    return options;
  }

  virtio_fs::Device device;
  checkpoint::DeviceState state;
  std::unique_ptr<vhost::user::Backend> backend;
};

absl::StatusOr<std::unique_ptr<VhostUserWay>> VhostUserWay::Create(fs::Filesystem* filesystem,
                                                                   VhostUserSocket socket,
                                                                   const Options& options) {
  ErrnoOr<sys::EventFd> stopped = sys::EventFd::Create();
  if (!stopped.ok()) return ToStatus(stopped.error(), "eventfd");
  return std::unique_ptr<VhostUserWay>(
      new VhostUserWay(*filesystem, std::move(socket), options, *std::move(stopped)));
}

VhostUserWay::VhostUserWay(fs::Filesystem& filesystem, VhostUserSocket socket,
                           const Options& options, sys::EventFd stopped)
    : filesystem_(filesystem),
      options_(options),
      session_(std::make_unique<fuse::Session>(&filesystem, options.session)),
      stopped_(std::move(stopped)),
      socket_(std::move(socket)) {}

VhostUserWay::~VhostUserWay() = default;

absl::Status VhostUserWay::Restore(const fuse::SessionState& state, fs::TreeRestore& tree) {
  RETURN_IF_ERROR(session_->Restore(state, tree));
  restored_ = state.connected;
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> VhostUserWay::Connect() {
  if (!socket_.listens) return std::move(socket_.fd);
  const BorrowedFd watched[] = {stopped_.fd(), socket_.fd};
  for (;;) {
    const ErrnoOr<std::vector<size_t>> ready = sys::WaitReadable(watched, absl::InfiniteDuration());
    if (!ready.ok()) return ToStatus(ready.error(), "poll");
    if (!ready->empty() && ready->front() == 0) return UniqueFd();
    ErrnoOr<UniqueFd> accepted = sys::Accept(socket_.fd);
    if (accepted.ok()) {
      socket_.fd.Reset();  // nobody else will be served
      return *std::move(accepted);
    }
    // Somebody who went away again.
    if (accepted.error() == EAGAIN || accepted.error() == ECONNABORTED) continue;
    return ToStatus(accepted.error(), "accept of a vhost-user connection");
  }
}

absl::Status VhostUserWay::Wait() {
  ASSIGN_OR_RETURN(UniqueFd connection, Connect());
  if (!connection.valid()) return absl::OkStatus();
  if (const ErrnoOr<void> set = sys::SetNonBlocking(connection, false); !set.ok())
    return ToStatus(set.error(), "vhost-user socket");
  vhost::user::Backend* backend;
  {
    auto served = std::make_unique<Served>(filesystem_, *session_, options_, restored_);
    ASSIGN_OR_RETURN(served->backend,
                     vhost::user::Backend::Create(std::move(connection), served->device,
                                                  &served->state, options_.limits));
    backend = served->backend.get();
    const absl::MutexLock lock(&mu_);
    served_ = std::move(served);
    phase_ = Phase::kConnected;
  }
  Serve(*backend);
  return absl::OkStatus();
}

void VhostUserWay::Serve(vhost::user::Backend& backend) {
  // A Stop that came before there was anything to stop.
  const BorrowedFd watched[] = {stopped_.fd()};
  const ErrnoOr<std::vector<size_t>> stopped = sys::WaitReadable(watched, absl::ZeroDuration());
  if (stopped.ok() && !stopped->empty()) backend.ShutDown();

  LOG(INFO) << "vhost-user: a monitor is connected";
  const absl::Status ended = backend.Serve();
  if (ended.ok()) {
    LOG(INFO) << "vhost-user: the monitor has gone";
  } else {
    LOG(ERROR) << "vhost-user: connection given up: " << ended.message();
    const absl::MutexLock lock(&mu_);
    violation_ = ended;
  }
  const bool quiet = backend.Quiesce(kGrace);
  std::unique_ptr<Served> over;  // ends after the lock
  const absl::MutexLock lock(&mu_);
  phase_ = Phase::kOver;
  if (quiet) {
    over = std::move(served_);
    session_->Reset();
    return;
  }
  LOG(ERROR) << "vhost-user: requests in flight did not end within " << absl::FormatDuration(kGrace)
             << ": a host file system hangs; giving them up";
  leaves_threads_ = true;
  (void)served_.release();  // its threads still use it
}

void VhostUserWay::Stop() {
  stopped_.Raise();
  const absl::MutexLock lock(&mu_);
  if (served_ != nullptr) served_->backend->ShutDown();
}

absl::Status VhostUserWay::violation() const {
  const absl::MutexLock lock(&mu_);
  return violation_;
}

std::string VhostUserWay::state() const {
  const absl::MutexLock lock(&mu_);
  switch (phase_) {
    case Phase::kWaiting:
      return "waiting for a monitor";
    case Phase::kConnected:
      return "a monitor is connected";
    case Phase::kOver:
      return "over";
  }
  return "";
}

std::vector<LimitUse> VhostUserWay::Limits() const {
  std::vector<LimitUse> limits = {
      {.resource = "requests_waiting_for_a_lock",
       .limit = fuse::LockWaiter::kMaxWaiting,
       .used = session_->waiting()},
      {.resource = "data_bytes", .limit = fuse::kMaxData},
      {.resource = "ring_entries", .limit = options_.limits.ring_entries},
      {.resource = "requests_taken_at_once", .limit = virtio_fs::Device::kTakenAtOnce},
      {.resource = "request_pieces", .limit = vhost::DescriptorChain::kMaxPieces}};
  const absl::MutexLock lock(&mu_);
  vhost::user::Backend::Use use;
  if (served_ != nullptr) use = served_->backend->use();
  limits.push_back({.resource = "queues", .limit = options_.limits.queues, .used = use.queues});
  limits.push_back({.resource = "memory_regions",
                    .limit = options_.limits.memory.regions,
                    .used = use.memory_regions});
  limits.push_back({.resource = "memory_bytes",
                    .limit = options_.limits.memory.bytes,
                    .used = use.memory_bytes});
  LimitUse requests = {.resource = "requests", .limit = options_.device.max_requests, .used = 0};
  LimitUse threads = {.resource = "threads", .limit = options_.device.max_workers, .used = 0};
  if (served_ != nullptr) {
    requests.used = served_->device.slots().in_use();
    const virtio_fs::WorkerPool* const workers = served_->device.workers();
    if (workers != nullptr) threads.used = workers->threads();
  }
  limits.push_back(requests);
  limits.push_back(threads);
  return limits;
}

size_t VhostUserWay::MaxThreads() const {
  // The monitor's own, one for locks, and three for a migration.
  constexpr size_t kBesides = 5;
  return options_.limits.queues + options_.device.max_workers + kBesides;
}

bool VhostUserWay::LeavesThreads() const {
  const absl::MutexLock lock(&mu_);
  return leaves_threads_;
}

}  // namespace gofer::server
