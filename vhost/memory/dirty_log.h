// DirtyLog: the bitmap in which a migrating front-end learns what we wrote into the guest's memory.
//
// One bit per 4096 bytes of guest address, from address 0. The front-end takes bits and clears them
// while we set them: a bit is set after the bytes were written, never before.
//
// Owner:   counted: the backend and each VirtQueue that marks in it.
// Threads: Mark from any.
// Errors:  what mapping fails with. An address beyond the log is dropped and logged once.
// Source:  spec/vhost-user-fs.md s.14.

#ifndef VHOST_MEMORY_DIRTY_LOG_H_
#define VHOST_MEMORY_DIRTY_LOG_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/peer_memory.h"

namespace gofer::vhost {

class DirtyLog : public RefCounted<DirtyLog> {
 public:
  static constexpr uint64_t kPageSize = 4096;

  // Maps `size` bytes of `file` from `offset` on. `on_break` as in PeerMemory.
  static absl::StatusOr<RefPtr<const DirtyLog>> Map(BorrowedFd file, uint64_t offset, uint64_t size,
                                                    BorrowedFd on_break);

  // Says that the guest's [address, address + size) has been written.
  void Mark(uint64_t address, uint64_t size) const;

 private:
  friend class RefCounted<DirtyLog>;

  explicit DirtyLog(sys::PeerMemory bitmap) : bitmap_(std::move(bitmap)) {}
  ~DirtyLog() = default;

  const sys::PeerMemory bitmap_;
};

}  // namespace gofer::vhost

#endif  // VHOST_MEMORY_DIRTY_LOG_H_
