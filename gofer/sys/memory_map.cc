#include "gofer/sys/memory_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

ErrnoOr<std::span<std::byte>> Map(int flags, int fd, uint64_t offset, size_t size) {
  void* const at =
      mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, fd, static_cast<off_t>(offset));
  if (at == MAP_FAILED) return Errno::Last();
  return std::span(static_cast<std::byte*>(at), size);
}

}  // namespace

ErrnoOr<MemoryMap> MemoryMap::Shared(BorrowedFd file, uint64_t offset, size_t size) {
  ASSIGN_OR_RETURN(const std::span<std::byte> memory, Map(MAP_SHARED, file.get(), offset, size));
  return MemoryMap(memory);
}

ErrnoOr<MemoryMap> MemoryMap::Anonymous(size_t size) {
  ASSIGN_OR_RETURN(const std::span<std::byte> memory,
                   Map(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, size));
  return MemoryMap(memory);
}

MemoryMap::~MemoryMap() {
  if (!memory_.empty()) munmap(memory_.data(), memory_.size());
}

ErrnoOr<UniqueFd> CreateSealedMemory(const char* name, uint64_t size) {
  UniqueFd file(static_cast<int>(internal::Call(
      "memfd_create", [&] { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); })));
  if (!file.valid()) return Errno::Last();
  if (internal::Call("ftruncate", [&] { return ftruncate(file.get(), static_cast<off_t>(size)); }) <
      0) {
    return Errno::Last();
  }
  if (internal::Call("fcntl", [&] {
        return fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
      }) < 0) {
    return Errno::Last();
  }
  return file;
}

}  // namespace gofer::sys
