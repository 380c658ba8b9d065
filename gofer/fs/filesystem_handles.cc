// File handles: files held by what the host calls them for ever, instead of by a descriptor.
//
// Source:  spec/fuse.md s.16; spec/virtiofsd-parity.md G and H.

#include <fcntl.h>
#include <sys/stat.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "gofer/sys/file_handle.h"

namespace gofer::fs {
namespace {

bool SameTimeAndPlace(const sys::Attr& a, const sys::Attr& b) {
  return InodeKey::Of(a) == InodeKey::Of(b) && a.stx_btime.tv_sec == b.stx_btime.tv_sec &&
         a.stx_btime.tv_nsec == b.stx_btime.tv_nsec;
}

}  // namespace

absl::Status Filesystem::TryHandles() {
  const auto attempt = [this]() -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const PathFd fd, Pin(*root_));
    ASSIGN_OR_RETURN(const sys::MountedFileHandle found, sys::FileHandleOf(fd));
    if (!MakeMountFd(root_->inode())) return Errno(EACCES);
    ASSIGN_OR_RETURN(const UniqueFd opened,
                     sys::OpenByHandle(root_->inode().mount().fd(), found.handle, O_PATH));
    ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(opened));
    return root_->inode().Matches(attr) ? ErrnoOr<void>() : Errno(ESTALE);
  };
  const ErrnoOr<void> works = attempt();
  if (works.ok()) {
    use_handles_ = true;
    return absl::OkStatus();
  }
  if (options_.file_handles == FileHandles::kMandatory) {
    return ToStatus(works.error(), "file handles: the root's cannot be opened");
  }
  LOG(WARNING) << "file handles: the root's cannot be opened: " << works.error().ToString()
               << "; files are held by descriptors";
  return absl::OkStatus();
}

ErrnoOr<std::optional<sys::FileHandle>> Filesystem::HandleOf(BorrowedFd fd, const sys::Attr& attr) {
  if (!use_handles_) return std::optional<sys::FileHandle>();
  const ErrnoOr<sys::MountedFileHandle> found = sys::FileHandleOf(fd);
  if (!found.ok()) return NoHandle(found.error(), attr.stx_mnt_id);
  return std::optional<sys::FileHandle>(found->handle);
}

ErrnoOr<std::optional<sys::FileHandle>> Filesystem::NoHandle(Errno error, uint64_t mnt_id) {
  if (!(error == EOPNOTSUPP || error == EOVERFLOW)) return error;
  const bool is_mandatory = options_.file_handles == FileHandles::kMandatory;
  {
    const absl::MutexLock lock(&complaints_mu_);
    if (complaints_.insert(mnt_id).second) {
      LOG(WARNING) << "file handles: mount " << mnt_id << " has none; its files "
                   << (is_mandatory ? "cannot be used" : "are held by descriptors");
    }
  }
  if (is_mandatory) return Errno(EOPNOTSUPP);
  return std::optional<sys::FileHandle>();
}

bool Filesystem::MakeMountFd(const Inode& inode) {
  // Mostly the root of the mount, since that is the way in. What is neither a file nor a directory
  // must not be opened.
  if (!inode.is_directory() && inode.type() != S_IFREG) return false;
  const std::optional<PathFd> pinned = inode.TryPin();
  if (!pinned.has_value()) return false;
  ErrnoOr<UniqueFd> fd = proc_fds_.Reopen(*pinned, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd.ok()) return false;
  inode.mount().SetFd(*std::move(fd));
  return true;
}

RefPtr<Inode> Filesystem::InternByHandle(BorrowedFd dir_fd, const Name& name,
                                         const sys::Attr& attr) {
  // Attributes and handle are of one file if the name led to it before and after.
  const ErrnoOr<sys::MountedFileHandle> found = sys::FileHandleAt(dir_fd, name);
  if (!found.ok() || static_cast<uint64_t>(found->mount_id) != attr.stx_mnt_id) return nullptr;
  const ErrnoOr<sys::Attr> again = sys::StatxAt(dir_fd, name);
  if (!again.ok() || !SameTimeAndPlace(attr, *again)) return nullptr;
  return inodes_.InternUnopened(attr, &found->handle);
}

ErrnoOr<PathFd> Filesystem::PinByHandle(const Inode& inode) {
  const std::optional<sys::FileHandle> handle = inodes_.HandleOf(inode);
  if (!handle.has_value()) return Errno(ESTALE);
  (void)ReserveFd();  // see ReopenByName
  ASSIGN_OR_RETURN(UniqueFd fd, WithFdsToSpare([&] {
                     return sys::OpenByHandle(inode.mount().fd(), *handle, O_PATH | O_NOFOLLOW);
                   }));
  return inodes_.Restore(inode, std::move(fd));
}

}  // namespace gofer::fs
