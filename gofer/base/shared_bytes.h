// SharedBytes: memory that a hostile peer can write at any moment (a packet window, guest RAM).
//
// It can only be copied out of: what is validated must be a private copy, made once. Bulk data of
// reads and writes is the exception; it is handed to a system call by `bulk` and never interpreted.
//
// Owner: the mapping's owner; SharedBytes is a view.

#ifndef GOFER_BASE_SHARED_BYTES_H_
#define GOFER_BASE_SHARED_BYTES_H_

#include <cstddef>
#include <cstring>
#include <span>

namespace gofer {

class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(std::span<std::byte> memory) : memory_(memory) {}

  size_t size() const { return memory_.size(); }

  // Copies [offset, offset + to.size()) into private memory. False, and nothing copied, if it is
  // not all inside.
  [[nodiscard]] bool CopyOut(size_t offset, std::span<std::byte> to) const {
    if (offset > memory_.size() || to.size() > memory_.size() - offset) return false;
    if (!to.empty()) std::memcpy(to.data(), memory_.data() + offset, to.size());
    return true;
  }

  // A part to hand to preadv/pwritev. Empty if it is not all inside.
  std::span<std::byte> bulk(size_t offset, size_t size) const {
    if (offset > memory_.size() || size > memory_.size() - offset) return {};
    return memory_.subspan(offset, size);
  }

 private:
  std::span<std::byte> memory_;
};

}  // namespace gofer

#endif  // GOFER_BASE_SHARED_BYTES_H_
