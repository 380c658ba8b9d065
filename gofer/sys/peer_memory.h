// PeerMemory: a file that a peer owns, mapped shared. The peer may write into it, and cut it short,
// at any moment.
//
// A touch beyond the end of a file that was cut is a SIGBUS. Here it costs the peer its service and
// nothing else: the page becomes private zeroes, the mapping is marked broken, the event is raised
// and the thread goes on. A system call that meets such a page fails with EFAULT by itself.
//
// Owner:   unmaps on destruction; nobody may touch its bytes then.
// Threads: broken() from any. The signal is answered by a process-wide handler, in the thread that
//          touched the page: so no thread that touches a peer's memory may have SIGBUS blocked.
// Errors:  mmap(2), statx(2), fstatfs(2). EINVAL: not a regular file or a character device, or
//          nothing to map; EFBIG: the range ends beyond the file's end; ENOMEM: too many mappings.
// Source:  spec/vhost-user-fs.md s.6.1 and 6.4; mmap(2); hugetlbfs in the kernel's documentation.

#ifndef GOFER_SYS_PEER_MEMORY_H_
#define GOFER_SYS_PEER_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

class PeerMemory {
 public:
  // Maps [offset, offset + size) of `file`, for reading and writing; the file may be closed then.
  // It is left out of core dumps. `on_break` is raised, as an eventfd, when the mapping breaks; it
  // must outlive the mapping, and need not be valid.
  static ErrnoOr<PeerMemory> Map(BorrowedFd file, uint64_t offset, uint64_t size,
                                 BorrowedFd on_break);

  PeerMemory(PeerMemory&& other) noexcept
      : mapped_(std::exchange(other.mapped_, {})),
        bytes_(std::exchange(other.bytes_, {})),
        guard_(std::exchange(other.guard_, kNoGuard)) {}
  PeerMemory& operator=(PeerMemory&&) = delete;
  PeerMemory(const PeerMemory&) = delete;
  PeerMemory& operator=(const PeerMemory&) = delete;
  ~PeerMemory();

  std::span<std::byte> bytes() const { return bytes_; }
  // A page was missing when it was touched: what is read may be zeroes that nobody wrote.
  bool broken() const;

 private:
  static constexpr size_t kNoGuard = SIZE_MAX;

  PeerMemory(std::span<std::byte> mapped, std::span<std::byte> bytes, size_t guard)
      : mapped_(mapped), bytes_(bytes), guard_(guard) {}

  std::span<std::byte> mapped_;  // whole pages of the file
  std::span<std::byte> bytes_;   // what was asked for
  size_t guard_;                 // index of the handler's entry
};

}  // namespace gofer::sys

#endif  // GOFER_SYS_PEER_MEMORY_H_
