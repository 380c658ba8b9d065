#include "fuse/session/call.h"

#include <algorithm>

namespace gofer::fuse {

bool Call::TakeHeader() {
  return data.CopyOut(std::as_writable_bytes(std::span(&header, 1))) == sizeof(header);
}

ErrnoOr<void> Call::TakeArgs(size_t max_args) {
  if (header.len > kMaxMessage) return Errno(ENOMEM);
  if (header.len < sizeof(header) || header.len > TotalSize(request.in)) return Errno(EINVAL);
  const size_t size = header.len - sizeof(header);
  const size_t wanted = std::min(size, max_args);
  const std::span<std::byte> room = scratch_.memory_->args;
  if (wanted > room.size()) return Errno(E2BIG);
  const std::span<std::byte> taken = room.first(wanted);
  data.CopyOut(taken);
  args = taken;
  data_size = size - wanted;
  return {};
}

}  // namespace gofer::fuse
