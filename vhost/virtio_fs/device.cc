#include "vhost/virtio_fs/device.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "glog/logging.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/processors.h"

namespace gofer::virtio_fs {
namespace {

constexpr uint32_t kHighPriority = 0;

}  // namespace

size_t DeviceOptions::DefaultHelpers() {
  constexpr int kMost = 7;
  return static_cast<size_t>(std::clamp(sys::ProcessorCount() / 2 - 1, 0, kMost));
}

Device::Device(fuse::Session* session, const DeviceOptions& options)
    : session_(*session),
      max_helpers_(options.max_helpers),
      awaits_guest_(options.restored),
      slots_(options.max_requests) {
  if (options.max_workers > 0) workers_.emplace(session_, options.max_workers);
  if (options.tag.empty()) return;
  config_.emplace();
  *config_ = {};
  std::memcpy(config_->tag.data(), options.tag.data(),
              std::min(options.tag.size(), config_->tag.size()));
  config_->num_request_queues = options.num_request_queues;
}

std::span<const std::byte> Device::config() const {
  if (!config_.has_value()) return {};
  return std::as_bytes(std::span(&*config_, 1));
}

absl::Status Device::Attach(uint32_t index, vhost::VirtQueue& queue, BorrowedFd kick) {
  awaits_guest_ = false;
  // The guest has been saved, and goes on here.
  if (const absl::Status taken = session_.TakeLocksAgain(); !taken.ok()) {
    LOG(ERROR) << "virtio-fs: " << taken.message();
  }
  ASSIGN_OR_RETURN(servers_[index],
                   QueueServer::Start(session_, queue, kick, slots_,
                                      {.workers = workers_.has_value() ? &*workers_ : nullptr,
                                       .max_helpers = workers_.has_value() ? max_helpers_ : 0,
                                       .helps_listings = sys::ProcessorCount() > 1,
                                       .polls = index != kHighPriority}));
  return absl::OkStatus();
}

void Device::Wake(uint32_t index) {
  if (servers_[index] != nullptr) servers_[index]->Wake();
}

void Device::Detach(uint32_t index) { servers_[index].reset(); }

}  // namespace gofer::virtio_fs
