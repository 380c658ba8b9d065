// ByteReader: takes values out of a private copy of what a peer sent, and cannot over-read.
//
// It is sticky: after the first short read every value is zero and ok() stays false, so a decoder
// is straight-line code and the one check at its end cannot be skipped: the value leaves only
// through FinishExact (bytes left over are an error: vhost-user, images) or FinishPrefix (they are
// ignored, as the LISAFS and FUSE references do).
//
// Owner:   the bytes belong to the caller, must outlive every string_view read, and must be memory
//          that the peer cannot write (see SharedBytes).
// Errors:  a short or over-long message is kInvalidArgument with the message's name and both sizes.
//          On the LISAFS and FUSE side Dispatch turns it into EIO or EINVAL.

#ifndef GOFER_BASE_BYTE_READER_H_
#define GOFER_BASE_BYTE_READER_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer {

// What may be copied to and from the wire: no padding (it would leak our stack to the peer), no
// pointers with meaning, byte image = value.
template <typename T>
concept WireStruct = std::is_trivially_copyable_v<T> && std::is_standard_layout_v<T> &&
    std::has_unique_object_representations_v<T>;

class ByteReader {
 public:
  // `message` names the message in errors and must be a literal.
  ByteReader(absl::string_view message, std::span<const std::byte> bytes)
      : message_(message), bytes_(bytes), total_(bytes.size()) {}

  // A little-endian value or packed struct, by copy. All supported hosts are little-endian.
  template <WireStruct T>
  T Read() {
    T value{};
    if (const std::byte* from = Take(sizeof(T)); from != nullptr) {
      std::memcpy(&value, from, sizeof(T));
    }
    return value;
  }

  // The next `size` bytes, still in the caller's buffer. Empty after a failure.
  absl::string_view ReadBytes(size_t size) {
    const std::byte* from = Take(size);
    return from == nullptr ? absl::string_view()
                           : absl::string_view(reinterpret_cast<const char*>(from), size);
  }

  std::span<const std::byte> ReadSpan(size_t size) {
    const std::byte* from = Take(size);
    return from == nullptr ? std::span<const std::byte>() : std::span(from, size);
  }

  // The bytes up to the next NUL, which is taken too. Without one it is a failure.
  absl::string_view ReadTerminated() {
    const void* const nul = bytes_.empty() ? nullptr : std::memchr(bytes_.data(), 0, bytes_.size());
    if (nul == nullptr) {
      Take(bytes_.size() + 1);
      return {};
    }
    const absl::string_view with_nul =
        ReadBytes(static_cast<size_t>(static_cast<const std::byte*>(nul) - bytes_.data()) + 1);
    return with_nul.substr(0, with_nul.size() - 1);
  }

  bool ok() const { return !failed_; }
  size_t remaining() const { return bytes_.size(); }
  // Declares what was read so far to be wrong, for a check that sizes do not express.
  void Fail() {
    failed_ = true;
    bytes_ = {};
  }

  template <typename T>
  absl::StatusOr<std::decay_t<T>> FinishPrefix(T&& value) && {
    if (failed_) return ShortError();
    return std::forward<T>(value);
  }

  template <typename T>
  absl::StatusOr<std::decay_t<T>> FinishExact(T&& value) && {
    if (failed_) return ShortError();
    if (!bytes_.empty()) return TailError();
    return std::forward<T>(value);
  }

 private:
  const std::byte* Take(size_t size) {
    if (size > bytes_.size()) [[unlikely]] {
      if (!failed_) missing_ = size - bytes_.size();
      Fail();
      return nullptr;
    }
    const std::byte* from = bytes_.data();
    bytes_ = bytes_.subspan(size);
    return from;
  }

  absl::Status ShortError() const;
  absl::Status TailError() const;

  absl::string_view message_;
  std::span<const std::byte> bytes_;
  size_t total_;
  size_t missing_ = 0;  // 0 with failed_: a count that cannot be true
  bool failed_ = false;
};

}  // namespace gofer

#endif  // GOFER_BASE_BYTE_READER_H_
