// ByteWriter: packs a reply in place, into memory that the peer may be able to write.
//
// It never reads back what it wrote, writes every byte it counts (padding included), and is sticky:
// what does not fit is not written and ok() turns false.
//
// Owner: the buffer belongs to the caller. Threads: one writer per buffer.

#ifndef GOFER_BASE_BYTE_WRITER_H_
#define GOFER_BASE_BYTE_WRITER_H_

#include <cstddef>
#include <cstring>
#include <span>

#include "absl/strings/string_view.h"
#include "gofer/base/byte_reader.h"

namespace gofer {

class ByteWriter {
 public:
  explicit ByteWriter(std::span<std::byte> buffer) : buffer_(buffer) {}

  template <WireStruct T>
  void Write(const T& value) {
    if (std::byte* to = Reserve(sizeof(T)); to != nullptr) std::memcpy(to, &value, sizeof(T));
  }

  void WriteBytes(absl::string_view bytes) {
    if (bytes.empty()) return;
    if (std::byte* to = Reserve(bytes.size()); to != nullptr) {
      std::memcpy(to, bytes.data(), bytes.size());
    }
  }

  // Overwrites bytes written before: a count that is known only afterwards.
  template <WireStruct T>
  void Patch(size_t offset, const T& value) {
    if (offset <= size_ && sizeof(T) <= size_ - offset) {
      std::memcpy(buffer_.data() + offset, &value, sizeof(T));
    } else {
      failed_ = true;
    }
  }

  // The unwritten rest, for a system call to fill; Advance counts what it filled.
  std::span<std::byte> tail() { return buffer_.subspan(size_); }
  void Advance(size_t size) { Reserve(size); }

  // Forgets everything written: an error reply takes the place of a partial one.
  void Clear() {
    size_ = 0;
    failed_ = false;
  }

  bool ok() const { return !failed_; }
  size_t size() const { return size_; }
  size_t remaining() const { return buffer_.size() - size_; }

 private:
  std::byte* Reserve(size_t size) {
    if (failed_ || size > remaining()) [[unlikely]] {
      failed_ = true;
      return nullptr;
    }
    std::byte* to = buffer_.data() + size_;
    size_ += size;
    return to;
  }

  std::span<std::byte> buffer_;
  size_t size_ = 0;
  bool failed_ = false;
};

}  // namespace gofer

#endif  // GOFER_BASE_BYTE_WRITER_H_
