// NodeTable: the nodes that a FUSE client knows, and how often it has been told of each.
//
// A node is one host inode: names that are hard links of each other share it, and so they share the
// client's cache. It keeps the Dentry that the client has found it by last. Each entry in a reply
// adds one lookup, FORGET takes lookups back, and with the last one the node is gone. An id is a
// slot, its shard and how many nodes have been in the slot before, so it costs nothing to find and
// is never given out twice; a slot whose count is used up is left alone for ever.
//
// A node takes 24 bytes here and about 6 for being found by its inode.
//
// Owner:   a Connection. Threads: safe.
// Locks:   Shard::mu is a leaf, and nothing is released under it. A node's shard follows from its
//          inode, so that finding, making and forgetting it take one lock, and a node cannot be
//          found between its last FORGET and its end.
// Errors:  EBADF for an id that is no node, or not any more; ENODEV when the table is closed.
// Source:  spec/fuse.md s.6; spec/virtiofsd-parity.md section O.

#ifndef FUSE_SESSION_NODE_TABLE_H_
#define FUSE_SESSION_NODE_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/wire/abi.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"

namespace gofer::fuse {

class NodeTable {
 public:
  // The root is always a node, and has no count. It outlives the table.
  explicit NodeTable(fs::Dentry& root) : root_(root) {}
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;
  ~NodeTable() { Close(); }

  ErrnoOr<RefPtr<fs::Dentry>> Find(NodeId id) const;
  // The node of the Dentry's inode, which has one more lookup now.
  ErrnoOr<NodeId> Remember(RefPtr<fs::Dentry> dentry);
  // Takes lookups back, at most those that there are. What is no node is ignored.
  void Forget(NodeId id, uint64_t lookups);
  // Drops all nodes but the root; from now on there are no others.
  void Close();

  // A file or directory on each of the mounts that nodes are on.
  std::vector<RefPtr<fs::Dentry>> OnePerMount() const;

  // Nodes other than the root, and the lookups of all of them.
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t lookups() const;

 private:
  static constexpr uint32_t kShards = 16;
  static constexpr uint32_t kPageSlots = 512;
  static constexpr uint32_t kNoSlot = UINT32_MAX;

  // Free: dentry is null and next leads to the next free one.
  struct Slot {
    fs::Dentry* dentry;  // one reference
    uint64_t lookups;
    uint32_t sequence;  // of the node that is in it, or will be; 0: used up
    uint32_t next;      // in its bucket's chain
  };
  static_assert(sizeof(Slot) == 24);

  struct alignas(64) Shard {
    absl::Mutex mu;
    std::vector<std::unique_ptr<Slot[]>> pages ABSL_GUARDED_BY(mu);
    std::vector<uint32_t> buckets ABSL_GUARDED_BY(mu);  // a power of two of them; by inode
    uint32_t num_nodes ABSL_GUARDED_BY(mu) = 0;
    uint32_t num_slots ABSL_GUARDED_BY(mu) = 0;
    uint32_t free ABSL_GUARDED_BY(mu) = kNoSlot;
    bool closed ABSL_GUARDED_BY(mu) = false;

    Slot& At(uint32_t index) const ABSL_SHARED_LOCKS_REQUIRED(mu) {
      return pages[index / kPageSlots][index % kPageSlots];
    }
    // Null unless that very node is there.
    Slot* Find(NodeId id) const ABSL_SHARED_LOCKS_REQUIRED(mu);
    uint32_t& Bucket(uint64_t hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      return buckets[hash & (buckets.size() - 1)];
    }
    // kNoSlot when there can be no more.
    uint32_t TakeSlot() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
    void Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  };

  static uint64_t HashOf(const fs::Inode& inode);
  static NodeId IdOf(uint32_t shard, uint32_t index, uint32_t sequence) {
    return static_cast<NodeId>(uint64_t{sequence} << 32 | index * kShards | shard);
  }
  static uint32_t ShardOf(NodeId id) { return static_cast<uint32_t>(id) % kShards; }
  static uint32_t IndexOf(NodeId id) { return static_cast<uint32_t>(id) / kShards; }
  static uint32_t SequenceOf(NodeId id) {
    return static_cast<uint32_t>(static_cast<uint64_t>(id) >> 32);
  }

  fs::Dentry& root_;
  std::atomic<size_t> size_{0};
  mutable std::array<Shard, kShards> shards_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_NODE_TABLE_H_
