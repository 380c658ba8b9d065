#include "gofer/sys/file_handle.h"

#include <fcntl.h>

#include <cstring>

#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

static_assert(FileHandle::kMaxBytes == MAX_HANDLE_SZ);

// The kernel's own struct, with room behind it.
union KernelHandle {
  struct file_handle head;
  unsigned char room[sizeof(struct file_handle) + FileHandle::kMaxBytes];
};

ErrnoOr<MountedFileHandle> NameToHandle(BorrowedFd at, const char* name, int flags) {
  KernelHandle kernel;
  kernel.head.handle_bytes = FileHandle::kMaxBytes;
  int mount_id = 0;
  if (Call("name_to_handle_at", [&] {
        return ::name_to_handle_at(at.get(), name, &kernel.head, &mount_id, flags);
      }) < 0) {
    return Errno::Last();
  }
  MountedFileHandle result;
  result.mount_id = mount_id;
  result.handle.size = kernel.head.handle_bytes;
  result.handle.type = kernel.head.handle_type;
  std::memcpy(result.handle.bytes, kernel.room + sizeof(struct file_handle), result.handle.size);
  return result;
}

}  // namespace

ErrnoOr<MountedFileHandle> FileHandleOf(BorrowedFd fd) {
  return NameToHandle(fd, "", AT_EMPTY_PATH);
}

ErrnoOr<MountedFileHandle> FileHandleAt(BorrowedFd dir, const Name& name) {
  return NameToHandle(dir, name.c_str(), 0);
}

ErrnoOr<UniqueFd> OpenByHandle(BorrowedFd mount, const FileHandle& handle, int flags) {
  if (handle.size > FileHandle::kMaxBytes) return Errno(EINVAL);
  KernelHandle kernel;
  kernel.head.handle_bytes = handle.size;
  kernel.head.handle_type = handle.type;
  std::memcpy(kernel.room + sizeof(struct file_handle), handle.bytes, handle.size);
  const int fd = Call("open_by_handle_at", [&] {
    return ::open_by_handle_at(mount.get(), &kernel.head, flags | O_CLOEXEC);
  });
  if (fd < 0) return Errno::Last();
  return UniqueFd(fd);
}

}  // namespace gofer::sys
