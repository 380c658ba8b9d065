// HandleTable: the files and directories that a FUSE client has open.
//
// Ids are those of slot_array.h. A handle remembers the node that it was opened on; a request that
// names it with another node is answered as if it did not exist.
//
// Owner:   a Connection. Threads: safe.
// Locks:   Shard::mu is a leaf, and nothing is released under it: closing a host file can block.
// Errors:  EBADF for an id that is no handle of that node; ENODEV when the table is closed.
// Source:  spec/fuse.md s.9; spec/virtiofsd-parity.md section O.

#ifndef FUSE_SESSION_HANDLE_TABLE_H_
#define FUSE_SESSION_HANDLE_TABLE_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "fuse/session/slot_array.h"
#include "fuse/wire/abi.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/handle.h"

namespace gofer::fuse {

// A handle, and the host's flags that it was opened with.
struct OpenFile {
  RefPtr<fs::Handle> handle;
  int flags;
};

class HandleTable {
 public:
  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;
  ~HandleTable() { Close(); }

  ErrnoOr<HandleId> Add(OpenFile file, NodeId node);
  ErrnoOr<OpenFile> Find(HandleId id, NodeId node) const;
  // Takes it out; it is closed with the last request that uses it.
  ErrnoOr<OpenFile> Remove(HandleId id, NodeId node);
  // Drops all; from now on there are none.
  void Close();

  size_t size() const { return size_.load(std::memory_order_relaxed); }

  // ---- saving and restoring, while no request is served; see NodeTable

  struct Saved {
    HandleId id;
    NodeId node;
    OpenFile file;
  };
  std::vector<Saved> All() const;
  uint32_t next_sequence() const;
  std::optional<HandleId> Restore(std::vector<Saved> handles, uint32_t next_sequence);

 private:
  // As in NodeTable; a process has about a million descriptors at most.
  static constexpr uint32_t kMaxRestoredSlots = 1 << 17;

  struct Slot {
    fs::Handle* handle;  // one reference
    NodeId node;
    int flags;
    uint32_t sequence;
    uint32_t next;

    bool is_free() const { return handle == nullptr; }
  };

  using Slots = SlotArray<Slot, 128>;

  struct alignas(64) Shard {
    absl::Mutex mu;
    Slots slots ABSL_GUARDED_BY(mu);
    bool closed ABSL_GUARDED_BY(mu) = false;

    // Null unless that very handle is there.
    Slot* Find(HandleId id, NodeId node) const ABSL_SHARED_LOCKS_REQUIRED(mu);
  };

  std::atomic<uint32_t> next_shard_{0};
  std::atomic<size_t> size_{0};
  mutable std::array<Shard, kTableShards> shards_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_HANDLE_TABLE_H_
