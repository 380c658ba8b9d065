// NodeTable: the nodes that a FUSE client knows, and how often it has been told of each.
//
// A node is one host inode: names that are hard links of each other share it, and so they share the
// client's cache. It keeps the Dentry that the client has found it by last. Each entry in a reply
// adds one lookup, FORGET takes lookups back, and with the last one the node is gone. Ids are those
// of slot_array.h.
//
// A node takes 24 bytes here and about 6 for being found by its inode.
//
// A node that was restored has the id that it had in another process, and so the shard of that,
// which is not the one that its inode leads to here. Its inode's shard has it in a list of its own,
// which costs those who look it up one more lock.
//
// Owner:   a Connection. Threads: safe.
// Locks:   Shard::restored_mu of any shard > Shard::mu of any other. mu is a leaf, and nothing is
//          released under either. A node's shard follows from its inode, so that finding, making
//          and forgetting it take one lock, and a node cannot be found between its last FORGET and
//          its end; restored_mu does the same for one that was restored.
// Errors:  EBADF for an id that is no node, or not any more; ENODEV when the table is closed.
// Source:  spec/fuse.md s.6; spec/virtiofsd-parity.md section O.

#ifndef FUSE_SESSION_NODE_TABLE_H_
#define FUSE_SESSION_NODE_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/slot_array.h"
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

  // ---- saving and restoring, while no request is served

  struct Saved {
    NodeId id;
    RefPtr<fs::Dentry> dentry;
    uint64_t lookups;
  };
  // All nodes but the root, in the order of their ids.
  std::vector<Saved> All() const;
  // Every id that was ever given out has an earlier sequence, its upper half, than this; 0: there
  // are no later ones.
  uint32_t next_sequence() const;
  // Puts nodes into an empty table; new ones get ids from `next_sequence` on. An id that such a
  // table cannot have given out, or that is there twice, is returned; the table is of no use then.
  std::optional<NodeId> Restore(std::vector<Saved> nodes, uint32_t next_sequence);

  // Nodes other than the root, and the lookups of all of them.
  size_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t lookups() const;

 private:
  // In `next`: the node is not in a bucket, but in the list of restored ones.
  static constexpr uint32_t kRestored = UINT32_MAX - 1;
  // Slots that a shard may have after a restore, four times those that it needs for as many nodes
  // as a filesystem may have: what bounds the memory that an id can ask for.
  static constexpr uint32_t kMaxRestoredSlots = 1 << 18;

  struct Slot {
    fs::Dentry* dentry;  // one reference
    uint64_t lookups;
    uint32_t sequence;
    uint32_t next;  // in its bucket's chain

    bool is_free() const { return dentry == nullptr; }
  };
  static_assert(sizeof(Slot) == 24);
  using Slots = SlotArray<Slot, 512>;

  struct alignas(64) Shard {
    absl::Mutex restored_mu;
    // Ids of restored nodes whose inodes lead here, wherever their slots are.
    absl::flat_hash_map<const fs::Inode*, NodeId> restored ABSL_GUARDED_BY(restored_mu);
    absl::Mutex mu;
    Slots slots ABSL_GUARDED_BY(mu);
    std::vector<uint32_t> buckets ABSL_GUARDED_BY(mu);  // a power of two of them; by inode
    uint32_t num_nodes ABSL_GUARDED_BY(mu) = 0;
    bool closed ABSL_GUARDED_BY(mu) = false;

    uint32_t& Bucket(uint64_t hash) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu) {
      return buckets[hash & (buckets.size() - 1)];
    }
    void Grow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu);
  };

  static uint64_t HashOf(const fs::Inode& inode);
  Shard& HomeOf(const fs::Inode& inode) const { return shards_[HashOf(inode) % kTableShards]; }
  // As Remember and Forget, of restored nodes. None, or false: it is not one of them.
  std::optional<NodeId> RememberRestored(RefPtr<fs::Dentry>& dentry);
  bool ForgetRestored(NodeId id, uint64_t lookups);
  static void Count(Slot& slot, RefPtr<fs::Dentry>& dentry);
  // Takes the node out of its slot, which is free then.
  RefPtr<fs::Dentry> Vacate(Shard& shard, uint32_t index) ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard.mu);

  fs::Dentry& root_;
  std::atomic<size_t> size_{0};
  // Restored nodes that are still there.
  std::atomic<size_t> num_restored_{0};
  mutable std::array<Shard, kTableShards> shards_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_NODE_TABLE_H_
