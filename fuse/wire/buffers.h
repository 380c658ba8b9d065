// Buffers: walks a list of iovecs, which a client has cut as it liked, as one run of bytes.
//
// The memory belongs to the client, who may write it at any moment: bytes are copied out once and
// then looked at, and what was copied in is never read back. Only bulk data stays in place, handed
// to a system call as a Slice.
//
// Owner:   the iovecs are the caller's and outlive this. Threads: one at a time.
// Errors:  copying ends with the buffers; the count tells how far it got.

#ifndef FUSE_WIRE_BUFFERS_H_
#define FUSE_WIRE_BUFFERS_H_

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace gofer::fuse {

// The sum of the lengths. Saturates.
size_t TotalSize(std::span<const struct iovec> iovecs);

class Buffers {
 public:
  explicit Buffers(std::span<const struct iovec> iovecs) : iovecs_(iovecs) {}

  // Copies the next bytes out, as many as there are and fit.
  size_t CopyOut(std::span<std::byte> to);
  // Copies bytes in, as many as there is room for.
  size_t CopyIn(std::span<const std::byte> from);
  size_t Skip(size_t size);
  // Takes up to `size` bytes as iovecs of their own, as many of them as `to` holds, without
  // touching the memory. Empty ones are left out.
  struct Taken {
    std::span<struct iovec> iovecs;
    size_t size;
  };
  Taken Slice(size_t size, std::span<struct iovec> to);

 private:
  // Runs `use(memory, size)` over the next `size` bytes, piece by piece.
  template <typename F>
  size_t Walk(size_t size, F&& use);

  std::span<const struct iovec> iovecs_;
  size_t offset_ = 0;  // in the first of them
};

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_BUFFERS_H_
