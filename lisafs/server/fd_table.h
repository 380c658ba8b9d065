// FdTable: what one client can name. A ControlFd is a Dentry, an OpenFd a Handle, and there are
//          BoundSockets.
//
// Ids are counters from 1 and never used twice; they index pages of slots, so that a lookup hashes
// nothing but a page number and a steady flow of opens and closes allocates nothing. A lookup gives
// a reference, so Close in parallel is harmless.
//
// Owner:   a Connection. Threads: safe; mu_ is a leaf, and nothing is released under it.
// Errors:  EBADF for an id that names nothing, EINVAL for one that names something of another kind.
// Source:  spec/lisafs.md s.4.7, s.5.9.

#ifndef LISAFS_SERVER_FD_TABLE_H_
#define LISAFS_SERVER_FD_TABLE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/dentry.h"
#include "gofer/fs/handle.h"
#include "lisafs/server/bound_socket.h"
#include "lisafs/server/state.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

using ControlFd = gofer::fs::Dentry;
using OpenFd = gofer::fs::Handle;

class FdTable {
 public:
  FdTable() = default;
  FdTable(const FdTable&) = delete;
  FdTable& operator=(const FdTable&) = delete;
  ~FdTable() { Clear(); }

  FdId Add(gofer::RefPtr<ControlFd> fd) ABSL_LOCKS_EXCLUDED(mu_);
  FdId Add(gofer::RefPtr<OpenFd> fd) ABSL_LOCKS_EXCLUDED(mu_);
  FdId Add(gofer::RefPtr<BoundSocket> fd) ABSL_LOCKS_EXCLUDED(mu_);

  gofer::ErrnoOr<gofer::RefPtr<ControlFd>> Control(FdId id) const ABSL_LOCKS_EXCLUDED(mu_);
  gofer::ErrnoOr<gofer::RefPtr<OpenFd>> Open(FdId id) const ABSL_LOCKS_EXCLUDED(mu_);
  gofer::ErrnoOr<gofer::RefPtr<BoundSocket>> Bound(FdId id) const ABSL_LOCKS_EXCLUDED(mu_);
  // The file behind a ControlFd or an OpenFd.
  gofer::ErrnoOr<gofer::RefPtr<ControlFd>> File(FdId id) const ABSL_LOCKS_EXCLUDED(mu_);

  // Uses up the next `count` ids: those of a walk that failed.
  void Skip(size_t count) ABSL_LOCKS_EXCLUDED(mu_);

  // All ids, in order, and what they name: for a checkpoint, while nobody adds or closes.
  struct Named {
    FdId id;
    FdKind kind;
    // The one that `kind` says; the others are null.
    gofer::RefPtr<ControlFd> control = nullptr;
    gofer::RefPtr<OpenFd> open = nullptr;
    gofer::RefPtr<BoundSocket> bound = nullptr;
  };
  std::vector<Named> All() const ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t next_id() const ABSL_LOCKS_EXCLUDED(mu_);
  // Puts what was saved back into an empty table: the next id to be given out, then each name. An
  // id of 0, one that is there already or is not below the next one: false.
  void SetNextId(uint64_t next) ABSL_LOCKS_EXCLUDED(mu_);
  [[nodiscard]] bool Put(Named named) ABSL_LOCKS_EXCLUDED(mu_);

  // Drops the client's reference; an id that names nothing is ignored.
  void Close(FdId id) ABSL_LOCKS_EXCLUDED(mu_);
  // Drops all.
  void Clear() ABSL_LOCKS_EXCLUDED(mu_);
  size_t size() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t num_pages() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  using Kind = FdKind;

  // Owns one reference to what it points to.
  struct Slot {
    Kind kind = Kind::kNone;
    void* object = nullptr;
  };
  static constexpr size_t kPageSize = 256;
  struct Page {
    std::array<Slot, kPageSize> slots;
    size_t used = 0;
  };

  void DropPageLocked(uint64_t number) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  FdId AddSlot(Slot slot) ABSL_LOCKS_EXCLUDED(mu_);
  Slot FindLocked(FdId id) const ABSL_SHARED_LOCKS_REQUIRED(mu_);
  template <typename T>
  gofer::ErrnoOr<gofer::RefPtr<T>> Find(FdId id, Kind kind) const ABSL_LOCKS_EXCLUDED(mu_);
  static void Drop(Slot slot);

  mutable absl::Mutex mu_;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 1;
  size_t size_ ABSL_GUARDED_BY(mu_) = 0;
  absl::flat_hash_map<uint64_t, std::unique_ptr<Page>> pages_ ABSL_GUARDED_BY(mu_);
  uint64_t newest_page_ ABSL_GUARDED_BY(mu_) =
      0;  // where ids come from: kept though it may be empty
  // An empty page to use next, so that a page boundary costs no allocation.
  std::unique_ptr<Page> spare_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_FD_TABLE_H_
