#include "fuse/session/handle_table.h"

#include <algorithm>
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
  if (num_slots == UINT32_MAX / kShards || first_sequence == 0) return kNoSlot;
  return AddSlot();
}

uint32_t HandleTable::Shard::AddSlot() {
  if (num_slots % kPageSlots == 0) pages.push_back(std::make_unique<Slot[]>(kPageSlots));
  const uint32_t index = num_slots++;
  At(index).sequence = first_sequence;
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

std::vector<HandleTable::Saved> HandleTable::All() const {
  std::vector<Saved> all;
  for (uint32_t number = 0; number < kShards; ++number) {
    Shard& shard = shards_[number];
    absl::MutexLock lock(&shard.mu);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      const Slot& slot = shard.At(index);
      if (slot.handle == nullptr) continue;
      all.push_back({.id = IdOf(number, index, slot.sequence),
                     .node = slot.node,
                     .file = {.handle = RefPtr<fs::Handle>(slot.handle), .flags = slot.flags}});
    }
  }
  std::sort(all.begin(), all.end(), [](const Saved& a, const Saved& b) { return a.id < b.id; });
  return all;
}

uint32_t HandleTable::next_sequence() const {
  uint32_t next = 1;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    if (shard.first_sequence == 0) return 0;
    next = std::max(next, shard.first_sequence);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      const Slot& slot = shard.At(index);
      const uint32_t unused = slot.sequence + (slot.handle != nullptr ? 1 : 0);
      if (unused == 0) return 0;
      next = std::max(next, unused);
    }
  }
  return next;
}

std::optional<HandleId> HandleTable::Restore(std::vector<Saved> handles, uint32_t next_sequence) {
  for (const Saved& saved : handles) {
    const bool possible = SequenceOf(saved.id) != 0 &&
                          (next_sequence == 0 || SequenceOf(saved.id) < next_sequence) &&
                          IndexOf(saved.id) < kMaxRestoredSlots;
    if (!possible) return saved.id;
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.first_sequence = next_sequence;
  }
  for (Saved& saved : handles) {
    Shard& shard = shards_[ShardOf(saved.id)];
    absl::MutexLock lock(&shard.mu);
    while (shard.num_slots <= IndexOf(saved.id)) shard.AddSlot();
    Slot& slot = shard.At(IndexOf(saved.id));
    if (slot.handle != nullptr) return saved.id;
    slot = {.handle = saved.file.handle.Release(),
            .node = saved.node,
            .flags = saved.file.flags,
            .sequence = SequenceOf(saved.id),
            .next = kNoSlot};
    size_.fetch_add(1, std::memory_order_relaxed);
  }
  if (next_sequence == 0) return std::nullopt;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      Slot& slot = shard.At(index);
      if (slot.handle == nullptr) slot.next = std::exchange(shard.free, index);
    }
  }
  return std::nullopt;
}

void HandleTable::Close() {
  for (Shard& shard : shards_) {
    std::vector<std::unique_ptr<Slot[]>> pages;
    uint32_t num_slots;
    {
      absl::MutexLock lock(&shard.mu);
      shard.closed = true;
      // Not within a request: a save that is being made finds either the files here or their changes.
      for (uint32_t index = 0; index < shard.num_slots; ++index) {
        if (const Slot& slot = shard.At(index); slot.handle != nullptr) slot.handle->NoteChanges();
      }
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
