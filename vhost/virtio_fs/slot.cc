#include "vhost/virtio_fs/slot.h"

namespace gofer::virtio_fs {

void Slot::Complete(size_t written) {
  queue_->CompleteAndNotify(chain, static_cast<uint32_t>(written));
  home_.Put(this);
}

Slot* SlotPool::Get() {
  const absl::MutexLock lock(&mu_);
  if (free_.empty()) {
    if (all_.size() == max_slots_) return nullptr;
    all_.push_back(std::make_unique<Slot>(*this));
    free_.reserve(all_.size());
    return all_.back().get();
  }
  Slot* const slot = free_.back();
  free_.pop_back();
  return slot;
}

void SlotPool::Put(Slot* slot) {
  const absl::MutexLock lock(&mu_);
  free_.push_back(slot);
}

}  // namespace gofer::virtio_fs
