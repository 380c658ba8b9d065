#include "fuse/session/handle_table.h"

#include <algorithm>
#include <utility>

namespace gofer::fuse {

HandleTable::Slot* HandleTable::Shard::Find(HandleId id, NodeId node) const {
  Slot* const slot = slots.Find(id);
  return slot != nullptr && slot->node == node ? slot : nullptr;
}

ErrnoOr<HandleId> HandleTable::Add(OpenFile file, NodeId node) {
  const uint32_t number = next_shard_.fetch_add(1, std::memory_order_relaxed) % kTableShards;
  Shard& shard = shards_[number];
  absl::MutexLock lock(&shard.mu);
  if (shard.closed) return Errno(ENODEV);
  const uint32_t index = shard.slots.Take();
  if (index == kNoSlot) return Errno(ENFILE);
  Slot& slot = shard.slots.At(index);
  slot.handle = file.handle.Release();
  slot.node = node;
  slot.flags = file.flags;
  size_.fetch_add(1, std::memory_order_relaxed);
  return IdOf<HandleId>(number, index, slot.sequence);
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
  shard.slots.GiveBack(IndexOf(id));
  size_.fetch_sub(1, std::memory_order_relaxed);
  return file;
}

std::vector<HandleTable::Saved> HandleTable::All() const {
  std::vector<Saved> all;
  for (uint32_t number = 0; number < kTableShards; ++number) {
    Shard& shard = shards_[number];
    absl::MutexLock lock(&shard.mu);
    shard.slots.ForEachEntry([&](uint32_t index, const Slot& slot) {
      all.push_back({.id = IdOf<HandleId>(number, index, slot.sequence),
                     .node = slot.node,
                     .file = {.handle = RefPtr<fs::Handle>(slot.handle), .flags = slot.flags}});
    });
  }
  std::sort(all.begin(), all.end(), [](const Saved& a, const Saved& b) { return a.id < b.id; });
  return all;
}

uint32_t HandleTable::next_sequence() const {
  return NextSequenceOf(shards_, [](Shard& shard) {
    absl::MutexLock lock(&shard.mu);
    return shard.slots.next_sequence();
  });
}

std::optional<HandleId> HandleTable::Restore(std::vector<Saved> handles, uint32_t next_sequence) {
  for (const Saved& saved : handles) {
    if (!IsPossible(saved.id, next_sequence, kMaxRestoredSlots)) return saved.id;
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.slots.StartAt(next_sequence);
  }
  for (Saved& saved : handles) {
    Shard& shard = shards_[ShardOf(saved.id)];
    absl::MutexLock lock(&shard.mu);
    shard.slots.Extend(IndexOf(saved.id));
    Slot& slot = shard.slots.At(IndexOf(saved.id));
    if (!slot.is_free()) return saved.id;
    slot = {.handle = saved.file.handle.Release(),
            .node = saved.node,
            .flags = saved.file.flags,
            .sequence = SequenceOf(saved.id),
            .next = kNoSlot};
    size_.fetch_add(1, std::memory_order_relaxed);
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.slots.OfferFree();
  }
  return std::nullopt;
}

void HandleTable::Close() {
  for (Shard& shard : shards_) {
    Slots slots;
    {
      absl::MutexLock lock(&shard.mu);
      shard.closed = true;
      // Not within a request: a save that is being made finds either the files here or their
      // changes.
      shard.slots.ForEachEntry([](uint32_t, const Slot& slot) { slot.handle->NoteChanges(); });
      slots = shard.slots.TakeAll();
    }
    slots.ForEachEntry([this](uint32_t, const Slot& slot) {
      slot.handle->Unref();
      size_.fetch_sub(1, std::memory_order_relaxed);
    });
  }
}

}  // namespace gofer::fuse
