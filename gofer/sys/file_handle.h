// File handles: a name for a file that lasts as long as the file, whatever its path becomes, and
// that no later file ever has, since it contains a generation.
//
// A handle is only ever made here, from a file that was reached inside the served tree; opening one
// knows no such bounds, so none is ever taken from a client.
//
// Threads: values; the calls are safe, and may block on the host.
// Errors:  the kernel's errno: EOPNOTSUPP and EOVERFLOW where a file system has no handles, ESTALE
//          for a file that is gone.
// Source:  open_by_handle_at(2); spec/fuse.md s.16; spec/virtiofsd-parity.md G and H.

#ifndef GOFER_SYS_FILE_HANDLE_H_
#define GOFER_SYS_FILE_HANDLE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

struct FileHandle {
  static constexpr size_t kMaxBytes = 128;  // MAX_HANDLE_SZ

  uint32_t size = 0;
  int32_t type = 0;
  unsigned char bytes[kMaxBytes];  // only the first `size`

  friend bool operator==(const FileHandle& a, const FileHandle& b) {
    return a.size == b.size && a.type == b.type && std::memcmp(a.bytes, b.bytes, a.size) == 0;
  }
};

struct MountedFileHandle {
  FileHandle handle;
  int mount_id = 0;  // as in statx
};

// Of what a descriptor (O_PATH too) refers to.
ErrnoOr<MountedFileHandle> FileHandleOf(BorrowedFd fd);
// Of one name below a directory; a symlink's own.
ErrnoOr<MountedFileHandle> FileHandleAt(BorrowedFd dir, const Name& name);
// Opens the file, on the mount that `mount` (open for reading) is on. O_CLOEXEC is added. Needs
// CAP_DAC_READ_SEARCH.
ErrnoOr<UniqueFd> OpenByHandle(BorrowedFd mount, const FileHandle& handle, int flags);

}  // namespace gofer::sys

#endif  // GOFER_SYS_FILE_HANDLE_H_
