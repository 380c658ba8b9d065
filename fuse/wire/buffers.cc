#include "fuse/wire/buffers.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace gofer::fuse {

size_t TotalSize(std::span<const struct iovec> iovecs) {
  size_t total = 0;
  for (const struct iovec& iovec : iovecs) {
    total = iovec.iov_len > SIZE_MAX - total ? SIZE_MAX : total + iovec.iov_len;
  }
  return total;
}

template <typename F>
size_t Buffers::Walk(size_t size, F&& use) {
  size_t done = 0;
  while (done < size && !iovecs_.empty()) {
    const struct iovec& iovec = iovecs_.front();
    const size_t piece = std::min(size - done, iovec.iov_len - offset_);
    if (piece > 0) use(static_cast<std::byte*>(iovec.iov_base) + offset_, piece, done);
    done += piece;
    offset_ += piece;
    if (offset_ == iovec.iov_len) {
      iovecs_ = iovecs_.subspan(1);
      offset_ = 0;
    }
  }
  return done;
}

size_t Buffers::CopyOut(std::span<std::byte> to) {
  return Walk(to.size(), [to](const std::byte* memory, size_t size, size_t at) {
    std::memcpy(to.data() + at, memory, size);
  });
}

size_t Buffers::CopyIn(std::span<const std::byte> from) {
  return Walk(from.size(), [from](std::byte* memory, size_t size, size_t at) {
    std::memcpy(memory, from.data() + at, size);
  });
}

size_t Buffers::Skip(size_t size) {
  return Walk(size, [](std::byte*, size_t, size_t) {});
}

Buffers::Taken Buffers::Slice(size_t size, std::span<struct iovec> to) {
  size_t count = 0;
  size_t taken = 0;
  while (taken < size && count < to.size() && !iovecs_.empty()) {
    const size_t piece = std::min(size - taken, iovecs_.front().iov_len - offset_);
    taken += Walk(piece, [&](std::byte* memory, size_t length, size_t) {
      to[count++] = {.iov_base = memory, .iov_len = length};
    });
    if (piece == 0) {  // an empty one
      iovecs_ = iovecs_.subspan(1);
      offset_ = 0;
    }
  }
  return {.iovecs = to.first(count), .size = taken};
}

}  // namespace gofer::fuse
