#include "gofer/fs/dir_cursor.h"

#include <atomic>

#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"

namespace gofer::fs {
namespace {

// Of all cursors.
std::atomic<size_t> buffers{0};

}  // namespace

bool DirCursor::Start(uint64_t cookie) {
  if (cookie != 0 && cookie == next_) return true;
  at_ = end_ = 0;
  ++fill_;
  next_ = cookie;
  // A position of 0 is only trusted before the first read: seeking there makes the host look anew.
  if (host_at_ != 0) host_at_ = kUnknown;
  return false;
}

ErrnoOr<const struct dirent64*> DirCursor::Peek(BorrowedFd dir, std::span<std::byte> spare) {
  if (at_ == end_) RETURN_IF_ERROR(Fill(dir, spare));
  if (at_ == end_) return static_cast<const struct dirent64*>(nullptr);
  return reinterpret_cast<const struct dirent64*>(records_ + at_);
}

ErrnoOr<void> DirCursor::Fill(BorrowedFd dir, std::span<std::byte> spare) {
  if (buffer_ == nullptr) {
    if (buffers.fetch_add(1, std::memory_order_relaxed) < kMaxBuffers) {
      buffer_ = std::make_unique_for_overwrite<Buffer>();
    } else {
      buffers.fetch_sub(1, std::memory_order_relaxed);
    }
  }
  const std::span<std::byte> bytes = buffer_ != nullptr ? std::span(buffer_->bytes) : spare;
  if (host_at_ != next_) {
    RETURN_IF_ERROR(sys::SeekTo(dir, next_));
    host_at_ = next_;
  }
  records_ = bytes.data();
  at_ = end_ = 0;
  ++fill_;
  ASSIGN_OR_RETURN(end_, sys::GetDents(dir, bytes));
  host_at_ = kUnknown;
  if (end_ == 0) {
    Free();
    return {};
  }
  for (size_t at = 0; at < end_;) {
    const auto* record = reinterpret_cast<const struct dirent64*>(records_ + at);
    host_at_ = static_cast<uint64_t>(record->d_off);
    at += record->d_reclen;
  }
  return {};
}

void DirCursor::Take() {
  const auto* record = reinterpret_cast<const struct dirent64*>(records_ + at_);
  next_ = static_cast<uint64_t>(record->d_off);
  at_ += record->d_reclen;
}

const struct dirent64* DirCursor::Kept(Place& place) const {
  if (!has_buffer() || place.fill != fill_ || place.at >= end_) return nullptr;
  const auto* record = reinterpret_cast<const struct dirent64*>(records_ + place.at);
  place.at += record->d_reclen;
  return record;
}

void DirCursor::Leave() {
  if (buffer_ == nullptr) at_ = end_ = 0;
}

void DirCursor::Free() {
  if (buffer_ == nullptr) return;
  buffer_.reset();
  buffers.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace gofer::fs
