// Reply: packs the answer to one request into the room that the client gave for it, in place.
//
// The header comes last, when it is known what follows it. Nothing is written that does not fit,
// padding is zero, and an error is a header alone. A handler that fails after it has written part
// of an answer leaves that part behind the error's header, where nobody looks.
//
// Owner:   the room is the client's memory. Threads: one at a time.
// Source:  spec/fuse.md s.1.2.

#ifndef FUSE_WIRE_REPLY_H_
#define FUSE_WIRE_REPLY_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/buffers.h"
#include "gofer/base/errno.h"

namespace gofer::fuse {

class Reply {
 public:
  explicit Reply(std::span<const struct iovec> out) : out_(out), body_(out), room_(TotalSize(out)) {
    body_.Skip(sizeof(OutHeader));
  }

  // Whether a header with `size` bytes behind it fits.
  bool HasRoomFor(size_t size) const {
    return room_ >= sizeof(OutHeader) && size <= room_ - sizeof(OutHeader);
  }
  // What is left behind what was written.
  size_t remaining() const { return HasRoomFor(size_) ? room_ - sizeof(OutHeader) - size_ : 0; }
  // Bytes behind the header, written or counted by Advance.
  size_t size() const { return size_; }

  template <WireStruct T>
  void Write(const T& value) {
    WriteBytes(std::as_bytes(std::span(&value, 1)));
  }
  void WriteBytes(std::span<const std::byte> bytes) {
    if (failed_ || bytes.size() > remaining()) [[unlikely]] {
      failed_ = true;
      return;
    }
    size_ += body_.CopyIn(bytes);
  }
  void WriteBytes(absl::string_view bytes) { WriteBytes(std::as_bytes(std::span(bytes))); }

  // The room for the next `size` bytes, for a system call to fill, as far as `to` holds its pieces.
  // It counts as passed over; Advance tells how much of it was filled.
  Buffers::Taken Slice(size_t size, std::span<struct iovec> to) { return body_.Slice(size, to); }
  void Advance(size_t size) { size_ += size; }

  // Whether all that was written did fit.
  bool ok() const { return !failed_; }

  // Writes the header and returns the length of the whole reply; zero if not even that has room.
  size_t Finish(uint64_t unique) const { return WriteHeader(size_, 0, unique); }
  size_t Fail(Errno error, uint64_t unique) const { return WriteHeader(0, -error.value(), unique); }

 private:
  size_t WriteHeader(size_t size, int32_t error, uint64_t unique) const {
    if (!HasRoomFor(size)) return 0;
    const OutHeader header = {
        .len = static_cast<uint32_t>(sizeof(OutHeader) + size), .error = error, .unique = unique};
    Buffers(out_).CopyIn(std::as_bytes(std::span(&header, 1)));
    return header.len;
  }

  std::span<const struct iovec> out_;
  Buffers body_;
  size_t room_;
  size_t size_ = 0;
  bool failed_ = false;
};

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_REPLY_H_
