#include "vhost/memory/dirty_log.h"

#include <atomic>
#include <utility>

#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/full_fence.h"

namespace gofer::vhost {

absl::StatusOr<RefPtr<const DirtyLog>> DirtyLog::Map(BorrowedFd file, uint64_t offset,
                                                     uint64_t size, BorrowedFd on_break) {
  ErrnoOr<sys::PeerMemory> bitmap = sys::PeerMemory::Map(file, offset, size, on_break);
  if (!bitmap.ok()) return ToStatus(bitmap.error(), "dirty log: map");
  return RefPtr<const DirtyLog>::Adopt(new DirtyLog(*std::move(bitmap)));
}

void DirtyLog::Mark(uint64_t address, uint64_t size) const {
  if (size == 0) return;
  const uint64_t pages = uint64_t{bitmap_.bytes().size()} * 8;
  uint64_t page = address / kPageSize;
  uint64_t last = (size - 1 > UINT64_MAX - address ? UINT64_MAX : address + (size - 1)) / kPageSize;
  if (last >= pages) {
    LOG_FIRST_N(WARNING, 1) << "dirty log: page " << last << " was written, the log has " << pages;
    if (page >= pages) return;
    last = pages - 1;
  }
  // The bytes that were written must be visible before a bit is found set below: the front-end
  // takes the bit first and copies the page then.
  FullFence();
  while (page <= last) {
    const uint64_t in_byte = page % 8;
    const uint64_t count = last - page < 7 - in_byte ? last - page + 1 : 8 - in_byte;
    const auto mask = static_cast<uint8_t>(((1u << count) - 1) << in_byte);
    auto& bits = *reinterpret_cast<std::atomic<uint8_t>*>(&bitmap_.bytes()[page / 8]);
    if ((bits.load(std::memory_order_relaxed) & mask) != mask) {
      bits.fetch_or(mask, std::memory_order_release);
    }
    page += count;
  }
}

}  // namespace gofer::vhost
