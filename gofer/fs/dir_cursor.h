// DirCursor: where one open directory is read, and what the host has given that nobody took yet.
//
// The host is asked for many entries at once and a client takes a few at a time, so the rest is
// kept. The buffers of all directories together are bounded: past that, and at the end of a
// listing, a cursor has none, and what was not taken is asked for again.
//
// Owner:   a Handle; the buffer goes with it. Threads: one at a time, under Handle::position_mu_.
// Units:   cookies are the host's, see getdents64(2): where the next record begins.

#ifndef GOFER_FS_DIR_CURSOR_H_
#define GOFER_FS_DIR_CURSOR_H_

#include <dirent.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::fs {

class DirCursor {
 public:
  static constexpr size_t kBufferBytes = 64 * 1024;
  // 16 MiB; and 10 for what is looked up ahead of them, see LookAhead.
  static constexpr size_t kMaxBuffers = 256;

  DirCursor() = default;
  DirCursor(const DirCursor&) = delete;
  DirCursor& operator=(const DirCursor&) = delete;
  ~DirCursor() { Free(); }

  // The listing goes on at `cookie`: with what is kept if it stands there, which is what it returns,
  // else with what the host says now. 0 is the beginning, and always asks the host.
  bool Start(uint64_t cookie);
  // The next record, which stays the next one until it is taken; null at the end. `spare` is used
  // while no buffer is to be had, and must be the same until Leave.
  ErrnoOr<const struct dirent64*> Peek(BorrowedFd dir, std::span<std::byte> spare);
  void Take();
  // The caller's `spare` is no more.
  void Leave();

  // A place among the records that are kept in a buffer; of no use any more when that has been
  // filled anew.
  struct Place {
    uint64_t fill = 0;
    size_t at = 0;
  };
  // Of what Peek gives next.
  Place place() const { return {fill_, at_}; }
  // The record at `place`, which is the one behind it then; null: there is none.
  const struct dirent64* Kept(Place& place) const;
  bool has_buffer() const { return buffer_ != nullptr; }
  // What is kept in it.
  size_t kept_bytes() const { return has_buffer() ? end_ - at_ : 0; }

 private:
  static constexpr uint64_t kUnknown = ~uint64_t{0};

  struct Buffer {
    alignas(struct dirent64) std::byte bytes[kBufferBytes];
  };

  ErrnoOr<void> Fill(BorrowedFd dir, std::span<std::byte> spare);
  void Free();

  std::unique_ptr<Buffer> buffer_;
  const std::byte* records_ = nullptr;  // in buffer_, or in the caller's spare one
  size_t at_ = 0;
  size_t end_ = 0;
  uint64_t fill_ = 0;     // how often the buffer has been filled, or emptied
  uint64_t next_ = 0;     // cookie of the record at at_
  uint64_t host_at_ = 0;  // the host's own position
};

}  // namespace gofer::fs

#endif  // GOFER_FS_DIR_CURSOR_H_
