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

void NodeTable::Shard::Grow() {
  const std::vector<uint32_t> old = std::exchange(
      buckets, std::vector<uint32_t>(std::max(kFirstBuckets, buckets.size() * 2), kNoSlot));
  for (uint32_t index : old) {
    while (index != kNoSlot) {
      Slot& slot = slots.At(index);
      uint32_t& bucket = Bucket(HashOf(slot.dentry->inode()) / kTableShards);
      const uint32_t next = std::exchange(slot.next, bucket);
      bucket = std::exchange(index, next);
    }
  }
}

ErrnoOr<RefPtr<fs::Dentry>> NodeTable::Find(NodeId id) const {
  if (id == NodeId::kRoot) return RefPtr<fs::Dentry>(&root_);
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  const Slot* const slot = shard.slots.Find(id);
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
  const auto number = static_cast<uint32_t>(hash % kTableShards);
  Shard& shard = shards_[number];
  absl::MutexLock lock(&shard.mu);  // declared after `dentry`: what is left in that goes after it
  if (shard.closed) return Errno(ENODEV);
  if (shard.num_nodes >= shard.buckets.size()) shard.Grow();
  uint32_t& bucket = shard.Bucket(hash / kTableShards);
  for (uint32_t index = bucket; index != kNoSlot; index = shard.slots.At(index).next) {
    Slot& slot = shard.slots.At(index);
    if (&slot.dentry->inode() != &dentry->inode()) continue;
    Count(slot, dentry);
    return IdOf<NodeId>(number, index, slot.sequence);
  }
  const uint32_t index = shard.slots.Take();
  if (index == kNoSlot) return Errno(ENFILE);
  Slot& slot = shard.slots.At(index);
  slot.dentry = dentry.Release();
  slot.lookups = 1;
  slot.next = std::exchange(bucket, index);
  ++shard.num_nodes;
  size_.fetch_add(1, std::memory_order_relaxed);
  return IdOf<NodeId>(number, index, slot.sequence);
}

RefPtr<fs::Dentry> NodeTable::Vacate(Shard& shard, uint32_t index) {
  Slot& slot = shard.slots.At(index);
  auto dentry = RefPtr<fs::Dentry>::Adopt(std::exchange(slot.dentry, nullptr));
  shard.slots.GiveBack(index);
  --shard.num_nodes;
  size_.fetch_sub(1, std::memory_order_relaxed);
  return dentry;
}

void NodeTable::Forget(NodeId id, uint64_t lookups) {
  if (num_restored_.load(std::memory_order_relaxed) != 0 && ForgetRestored(id, lookups)) return;
  RefPtr<fs::Dentry> forgotten;  // dropped after the lock
  Shard& shard = shards_[ShardOf(id)];
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.slots.Find(id);
  if (slot == nullptr) return;
  slot->lookups -= std::min(lookups, slot->lookups);
  if (slot->lookups > 0) return;
  const uint32_t index = IndexOf(id);
  uint32_t* link = &shard.Bucket(HashOf(slot->dentry->inode()) / kTableShards);
  while (*link != index) link = &shard.slots.At(*link).next;
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
  Slot* const slot = shard.slots.Find(id);
  if (slot == nullptr) return std::nullopt;  // the table has been closed
  Count(*slot, dentry);
  return id;
}

bool NodeTable::ForgetRestored(NodeId id, uint64_t lookups) {
  Shard& shard = shards_[ShardOf(id)];
  const fs::Inode* inode;
  {
    absl::MutexLock lock(&shard.mu);
    const Slot* const slot = shard.slots.Find(id);
    if (slot == nullptr || slot->next != kRestored) return false;
    inode = &slot->dentry->inode();
  }
  RefPtr<fs::Dentry> forgotten;  // dropped after the locks
  Shard& home = HomeOf(*inode);
  absl::MutexLock home_lock(&home.restored_mu);
  absl::MutexLock lock(&shard.mu);
  Slot* const slot = shard.slots.Find(id);
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
  for (uint32_t number = 0; number < kTableShards; ++number) {
    Shard& shard = shards_[number];
    absl::MutexLock lock(&shard.mu);
    shard.slots.ForEachEntry([&](uint32_t index, const Slot& slot) {
      all.push_back({.id = IdOf<NodeId>(number, index, slot.sequence),
                     .dentry = RefPtr<fs::Dentry>(slot.dentry),
                     .lookups = slot.lookups});
    });
  }
  std::sort(all.begin(), all.end(), [](const Saved& a, const Saved& b) { return a.id < b.id; });
  return all;
}

uint32_t NodeTable::next_sequence() const {
  return NextSequenceOf(shards_, [](Shard& shard) {
    absl::MutexLock lock(&shard.mu);
    return shard.slots.next_sequence();
  });
}

std::optional<NodeId> NodeTable::Restore(std::vector<Saved> nodes, uint32_t next_sequence) {
  for (const Saved& node : nodes) {
    const bool possible = IsPossible(node.id, next_sequence, kMaxRestoredSlots) && node.lookups > 0;
    if (!possible) return node.id;
  }
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.slots.StartAt(next_sequence);
  }
  for (Saved& node : nodes) {
    const fs::Inode* const inode = &node.dentry->inode();
    {
      Shard& shard = shards_[ShardOf(node.id)];
      absl::MutexLock lock(&shard.mu);
      shard.slots.Extend(IndexOf(node.id));
      Slot& slot = shard.slots.At(IndexOf(node.id));
      if (!slot.is_free()) return node.id;
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
    shard.slots.OfferFree();
  }
  return std::nullopt;
}

void NodeTable::Close() {
  for (Shard& shard : shards_) {
    Slots slots;
    {
      absl::MutexLock lock(&shard.restored_mu);
      shard.restored.clear();
    }
    {
      absl::MutexLock lock(&shard.mu);
      shard.closed = true;
      slots = shard.slots.TakeAll();
      shard.buckets = {};
      size_.fetch_sub(std::exchange(shard.num_nodes, 0), std::memory_order_relaxed);
    }
    slots.ForEachEntry([](uint32_t, const Slot& slot) { slot.dentry->Unref(); });
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
    shard.slots.ForEachEntry([&](uint32_t, const Slot& slot) {
      fs::Dentry* const dentry = slot.dentry;
      if (dentry->type() != S_IFREG && dentry->type() != S_IFDIR) return;
      if (is_new(dentry->inode().key().mnt_id)) found.emplace_back(dentry);
    });
  }
  return found;
}

uint64_t NodeTable::lookups() const {
  uint64_t total = 0;
  for (Shard& shard : shards_) {
    absl::MutexLock lock(&shard.mu);
    shard.slots.ForEachEntry([&](uint32_t, const Slot& slot) { total += slot.lookups; });
  }
  return total;
}

}  // namespace gofer::fuse
