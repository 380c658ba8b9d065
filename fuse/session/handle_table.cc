#include "fuse/session/handle_table.h"

#include <utility>

namespace gofer::fuse {

HandleTable::Slot* HandleTable::Shard::Find(HandleId id, NodeId node) const {
  const uint32_t index = IndexOf(id);
  if (index >= num_slots) return nullptr;
  Slot& slot = At(index);
  if (slot.handle == nullptr || slot.sequence != SequenceOf(id) || slot.node != node) {
    return nullptr;
  }
  return &slot;
}

uint32_t HandleTable::Shard::TakeSlot() {
  if (free != kNoSlot) return std::exchange(free, At(free).next);
  if (num_slots == UINT32_MAX / kShards) return kNoSlot;
  if (num_slots % kPageSlots == 0) pages.push_back(std::make_unique<Slot[]>(kPageSlots));
  const uint32_t index = num_slots++;
  At(index).sequence = 1;
  return index;
}

ErrnoOr<HandleId> HandleTable::Add(OpenFile file, NodeId node) {
  const uint32_t number = next_shard_.fetch_add(1, std::memory_order_relaxed) % kShards;
  Shard& shard = shards_[number];
  absl::MutexLock lock(&shard.mu);
  if (shard.closed) return Errno(ENODEV);
  const uint32_t index = shard.TakeSlot();
  if (index == kNoSlot) return Errno(ENFILE);
  Slot& slot = shard.At(index);
  slot.handle = file.handle.Release();
  slot.node = node;
  slot.flags = file.flags;
  size_.fetch_add(1, std::memory_order_relaxed);
  return IdOf(number, index, slot.sequence);
}

ErrnoOr<OpenFile> HandleTable::Find(HandleId id, NodeId node) const {
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  const Slot* const slot = shard.Find(id, node);
  if (slot == nullptr) return Errno(EBADF);
  return OpenFile{.handle = RefPtr<fs::Handle>(slot->handle), .flags = slot->flags};
}

ErrnoOr<OpenFile> HandleTable::Remove(HandleId id, NodeId node) {
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.Find(id, node);
  if (slot == nullptr) return Errno(EBADF);
  OpenFile file = {.handle = RefPtr<fs::Handle>::Adopt(std::exchange(slot->handle, nullptr)),
                   .flags = slot->flags};
  if (++slot->sequence != 0) slot->next = std::exchange(shard.free, IndexOf(id));
  size_.fetch_sub(1, std::memory_order_relaxed);
  return file;
}

void HandleTable::Close() {
  for (Shard& shard : shards_) {
    std::vector<std::unique_ptr<Slot[]>> pages;
    uint32_t num_slots;
    {
      absl::MutexLock lock(&shard.mu);
      shard.closed = true;
      pages.swap(shard.pages);
      num_slots = std::exchange(shard.num_slots, 0);
      shard.free = kNoSlot;
    }
    for (uint32_t index = 0; index < num_slots; ++index) {
      fs::Handle* const handle = pages[index / kPageSlots][index % kPageSlots].handle;
      if (handle == nullptr) continue;
      handle->Unref();
      size_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
}

}  // namespace gofer::fuse
