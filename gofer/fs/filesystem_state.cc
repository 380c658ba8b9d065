// What a checkpoint asks of open files.

#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "gofer/sys/file_io.h"

namespace gofer::fs {

ErrnoOr<uint64_t> Filesystem::PositionOf(Handle& handle) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const absl::MutexLock lock(&handle.position_mu_);
  return sys::Seek(fd, 0, SEEK_CUR);
}

ErrnoOr<void> Filesystem::SetPosition(Handle& handle, uint64_t cookie) {
  ASSIGN_OR_RETURN(const BorrowedFd fd, FdOf(handle));
  const absl::MutexLock lock(&handle.position_mu_);
  return sys::SeekTo(fd, cookie);
}

RefPtr<Dentry> Filesystem::AddStale(Dentry& dir, absl::string_view name, uint32_t type) {
  return dentries_.AddStale(dir, name, inodes_.MakeLost(type));
}

RefPtr<Handle> Filesystem::MakeUnopened(Dentry& dentry, int flags) {
  auto handle =
      RefPtr<Handle>::Adopt(new Handle(RefPtr<Dentry>(&dentry), flags, UniqueFd(), handle_fds_));
  (void)handle->Donate();  // it counts no descriptor
  return handle;
}

}  // namespace gofer::fs
