// Shared mappings and the sealed memory file behind packet windows.
//
// Owner:   a MemoryMap unmaps on destruction. Threads: values.
// Errors:  mmap(2), memfd_create(2), ftruncate(2), fcntl(2) F_ADD_SEALS.

#ifndef GOFER_SYS_MEMORY_MAP_H_
#define GOFER_SYS_MEMORY_MAP_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

class MemoryMap {
 public:
  MemoryMap() = default;
  // Maps [offset, offset + size) of a file, shared, for reading and writing.
  static ErrnoOr<MemoryMap> Shared(BorrowedFd file, uint64_t offset, size_t size);
  // Private zeroed memory, for buffers that should cost nothing until they are touched.
  static ErrnoOr<MemoryMap> Anonymous(size_t size);

  MemoryMap(MemoryMap&& other) noexcept : memory_(std::exchange(other.memory_, {})) {}
  MemoryMap& operator=(MemoryMap&& other) noexcept {
    std::swap(memory_, other.memory_);
    return *this;
  }
  MemoryMap(const MemoryMap&) = delete;
  MemoryMap& operator=(const MemoryMap&) = delete;
  ~MemoryMap();

  std::span<std::byte> bytes() const { return memory_; }

 private:
  explicit MemoryMap(std::span<std::byte> memory) : memory_(memory) {}

  std::span<std::byte> memory_;
};

// A memory file of `size` bytes that nobody can shrink, grow or unseal: a peer that could cut it
// would kill us by SIGBUS.
ErrnoOr<UniqueFd> CreateSealedMemory(const char* name, uint64_t size);

}  // namespace gofer::sys

#endif  // GOFER_SYS_MEMORY_MAP_H_
