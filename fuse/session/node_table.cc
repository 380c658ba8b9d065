#include "fuse/session/node_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"

namespace gofer::fuse {
namespace {

constexpr size_t kFirstBuckets = 64;

}  // namespace

uint64_t NodeTable::HashOf(const fs::Inode& inode) { return absl::HashOf(&inode); }

NodeTable::Slot* NodeTable::Shard::Find(NodeId id) const {
  const uint32_t index = IndexOf(id);
  if (index >= num_slots) return nullptr;
  Slot& slot = At(index);
  if (slot.dentry == nullptr || slot.sequence != SequenceOf(id)) return nullptr;
  return &slot;
}

uint32_t NodeTable::Shard::TakeSlot() {
  if (free != kNoSlot) return std::exchange(free, At(free).next);
  if (num_slots == UINT32_MAX / kShards || first_sequence == 0) return kNoSlot;
  if (num_slots % kPageSlots == 0) pages.push_back(std::make_unique<Slot[]>(kPageSlots));
  const uint32_t index = num_slots++;
  At(index) = {.dentry = nullptr, .lookups = 0, .sequence = first_sequence, .next = kNoSlot};
  return index;
}

void NodeTable::Shard::Grow() {
  const std::vector<uint32_t> old = std::exchange(
      buckets, std::vector<uint32_t>(std::max(kFirstBuckets, buckets.size() * 2), kNoSlot));
  for (uint32_t index : old) {
    while (index != kNoSlot) {
      Slot& slot = At(index);
      uint32_t& bucket = Bucket(HashOf(slot.dentry->inode()) / kShards);
      const uint32_t next = std::exchange(slot.next, bucket);
      bucket = std::exchange(index, next);
    }
  }
}

ErrnoOr<RefPtr<fs::Dentry>> NodeTable::Find(NodeId id) const {
  if (id == NodeId::kRoot) return RefPtr<fs::Dentry>(&root_);
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  const Slot* const slot = shard.Find(id);
  if (slot == nullptr) return Errno(EBADF);
  return RefPtr<fs::Dentry>(slot->dentry);
}

void NodeTable::Count(Slot& slot, RefPtr<fs::Dentry>& dentry) {
  ++slot.lookups;
  // The newest name is the one that is known to lead there.
  if (slot.dentry != dentry.get()) {
    dentry = RefPtr<fs::Dentry>::Adopt(std::exchange(slot.dentry, dentry.Release()));
  }
}

ErrnoOr<NodeId> NodeTable::Remember(RefPtr<fs::Dentry> dentry) {
  if (num_restored_.load(std::memory_order_relaxed) != 0) {
    if (const std::optional<NodeId> id = RememberRestored(dentry); id.has_value()) return *id;
  }
  const uint64_t hash = HashOf(dentry->inode());
  const auto number = static_cast<uint32_t>(hash % kShards);
  Shard& shard = shards_[number];
  absl::MutexLock lock(&shard.mu);  // declared after `dentry`: what is left in that goes after it
  if (shard.closed) return Errno(ENODEV);
  if (shard.num_nodes >= shard.buckets.size()) shard.Grow();
  uint32_t& bucket = shard.Bucket(hash / kShards);
  for (uint32_t index = bucket; index != kNoSlot; index = shard.At(index).next) {
    Slot& slot = shard.At(index);
    if (&slot.dentry->inode() != &dentry->inode()) continue;
    Count(slot, dentry);
    return IdOf(number, index, slot.sequence);
  }
  const uint32_t index = shard.TakeSlot();
  if (index == kNoSlot) return Errno(ENFILE);
  Slot& slot = shard.At(index);
  slot.dentry = dentry.Release();
  slot.lookups = 1;
  slot.next = std::exchange(bucket, index);
  ++shard.num_nodes;
  size_.fetch_add(1, std::memory_order_relaxed);
  return IdOf(number, index, slot.sequence);
}

RefPtr<fs::Dentry> NodeTable::Vacate(Shard& shard, uint32_t index) {
  Slot& slot = shard.At(index);
  auto dentry = RefPtr<fs::Dentry>::Adopt(std::exchange(slot.dentry, nullptr));
  if (++slot.sequence != 0) slot.next = std::exchange(shard.free, index);
  --shard.num_nodes;
  size_.fetch_sub(1, std::memory_order_relaxed);
  return dentry;
}

void NodeTable::Forget(NodeId id, uint64_t lookups) {
  if (num_restored_.load(std::memory_order_relaxed) != 0 && ForgetRestored(id, lookups)) return;
  RefPtr<fs::Dentry> forgotten;  // dropped after the lock
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.Find(id);
  if (slot == nullptr) return;
  slot->lookups -= std::min(lookups, slot->lookups);
  if (slot->lookups > 0) return;
  const uint32_t index = IndexOf(id);
  uint32_t* link = &shard.Bucket(HashOf(slot->dentry->inode()) / kShards);
  while (*link != index) link = &shard.At(*link).next;
  *link = slot->next;
  forgotten = Vacate(shard, index);
}

std::optional<NodeId> NodeTable::RememberRestored(RefPtr<fs::Dentry>& dentry) {
  Shard& home = HomeOf(dentry->inode());
  absl::MutexLock home_lock(&home.restored_mu);
  const auto known = home.restored.find(&dentry->inode());
  if (known == home.restored.end()) return std::nullopt;
  const NodeId id = known->second;
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.Find(id);
  if (slot == nullptr) return std::nullopt;  // the table has been closed
  Count(*slot, dentry);
  return id;
}

bool NodeTable::ForgetRestored(NodeId id, uint64_t lookups) {
  Shard& shard = shards_[ShardOf(id)];
  const fs::Inode* inode;
  {
    absl::MutexLock lock(&shard.mu);
    const Slot* const slot = shard.Find(id);
    if (slot == nullptr || slot->next != kRestored) return false;
    inode = &slot->dentry->inode();
  }
  RefPtr<fs::Dentry> forgotten;  // dropped after the locks
  Shard& home = HomeOf(*inode);
  absl::MutexLock home_lock(&home.restored_mu);
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.Find(id);
  if (slot == nullptr) return true;
  slot->lookups -= std::min(lookups, slot->lookups);
  if (slot->lookups > 0) return true;
  // Of two that have turned out to be one file, one is in the list.
  if (const auto known = home.restored.find(inode);
      known != home.restored.end() && known->second == id) {
    home.restored.erase(known);
  }
  forgotten = Vacate(shard, IndexOf(id));
  num_restored_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

std::vector<NodeTable::Saved> NodeTable::All() const {
  std::vector<Saved> all;
  all.reserve(size());
  for (uint32_t number = 0; number < kShards; ++number) {
    Shard& shard = shards_[number];
    absl::MutexLock lock(&shard.mu);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      const Slot& slot = shard.At(index);
      if (slot.dentry == nullptr) continue;
      all.push_back({.id = IdOf(number, index, slot.sequence),
                     .dentry = RefPtr<fs::Dentry>(slot.dentry),
                     .lookups = slot.lookups});
    }
  }
  std::sort(all.begin(), all.end(), [](const Saved& a, const Saved& b) { return a.id < b.id; });
  return all;
}

uint32_t NodeTable::next_sequence() const {
  uint32_t next = 1;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    if (shard.first_sequence == 0) return 0;
    next = std::max(next, shard.first_sequence);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      const Slot& slot = shard.At(index);
      // That of a free slot has not been given out.
      const uint32_t unused = slot.sequence + (slot.dentry != nullptr ? 1 : 0);
      if (unused == 0) return 0;
      next = std::max(next, unused);
    }
  }
  return next;
}

void NodeTable::Extend(Shard& shard, uint32_t index) {
  while (shard.num_slots <= index) {
    if (shard.num_slots % kPageSlots == 0) {
      shard.pages.push_back(std::make_unique<Slot[]>(kPageSlots));
    }
    shard.At(shard.num_slots++) = {
        .dentry = nullptr, .lookups = 0, .sequence = shard.first_sequence, .next = kNoSlot};
  }
}

std::optional<NodeId> NodeTable::Restore(std::vector<Saved> nodes, uint32_t next_sequence) {
  for (const Saved& node : nodes) {
    const bool possible = SequenceOf(node.id) != 0 &&
                          (next_sequence == 0 || SequenceOf(node.id) < next_sequence) &&
                          IndexOf(node.id) < kMaxRestoredSlots && node.lookups > 0;
    if (!possible) return node.id;
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.first_sequence = next_sequence;
  }
  for (Saved& node : nodes) {
    const fs::Inode* const inode = &node.dentry->inode();
    {
      Shard& shard = shards_[ShardOf(node.id)];
      absl::MutexLock lock(&shard.mu);
      Extend(shard, IndexOf(node.id));
      Slot& slot = shard.At(IndexOf(node.id));
      if (slot.dentry != nullptr) return node.id;
      slot = {.dentry = node.dentry.Release(),
              .lookups = node.lookups,
              .sequence = SequenceOf(node.id),
              .next = kRestored};
      ++shard.num_nodes;
    }
    size_.fetch_add(1, std::memory_order_relaxed);
    num_restored_.fetch_add(1, std::memory_order_relaxed);
    Shard& home = HomeOf(*inode);
    absl::MutexLock lock(&home.restored_mu);
    home.restored.emplace(inode, node.id);
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    if (next_sequence == 0) break;
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      Slot& slot = shard.At(index);
      if (slot.dentry == nullptr) slot.next = std::exchange(shard.free, index);
    }
  }
  return std::nullopt;
}

void NodeTable::Close() {
  for (Shard& shard : shards_) {
    std::vector<std::unique_ptr<Slot[]>> pages;
    uint32_t num_slots;
    {
      absl::MutexLock lock(&shard.restored_mu);
      shard.restored.clear();
    }
    {
      absl::MutexLock lock(&shard.mu);
      shard.closed = true;
      pages.swap(shard.pages);
      num_slots = std::exchange(shard.num_slots, 0);
      shard.buckets = {};
      shard.free = kNoSlot;
      size_.fetch_sub(std::exchange(shard.num_nodes, 0), std::memory_order_relaxed);
    }
    for (uint32_t index = 0; index < num_slots; ++index) {
      fs::Dentry* const dentry = pages[index / kPageSlots][index % kPageSlots].dentry;
      if (dentry != nullptr) dentry->Unref();
    }
  }
}

std::vector<RefPtr<fs::Dentry>> NodeTable::OnePerMount() const {
  std::vector<RefPtr<fs::Dentry>> found;
  const auto is_new = [&found](uint64_t mnt_id) {
    return std::none_of(found.begin(), found.end(), [mnt_id](const RefPtr<fs::Dentry>& other) {
      return other->inode().key().mnt_id == mnt_id;
    });
  };
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      fs::Dentry* const dentry = shard.At(index).dentry;
      if (dentry == nullptr || (dentry->type() != S_IFREG && dentry->type() != S_IFDIR)) continue;
      if (is_new(dentry->inode().key().mnt_id)) found.emplace_back(dentry);
    }
  }
  return found;
}

uint64_t NodeTable::lookups() const {
  uint64_t total = 0;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    for (uint32_t index = 0; index < shard.num_slots; ++index) {
      const Slot& slot = shard.At(index);
      if (slot.dentry != nullptr) total += slot.lookups;
    }
  }
  return total;
}

}  // namespace gofer::fuse
