#include "lisafs/server/handlers.h"

#include <sys/stat.h>

#include <cstring>

namespace lisafs {
namespace {

StatxTimestamp ToWire(const struct statx_timestamp& time) {
  return {.sec = time.tv_sec, .nsec = time.tv_nsec, .pad = 0};
}

}  // namespace

Statx ToWire(const Connection& connection, const gofer::sys::Attr& attr) {
  const gofer::fs::FileNumber number = connection.filesystem().ClientNumberOf(attr);
  return {.mask = attr.stx_mask,
          .blksize = attr.stx_blksize,
          .attributes = 0,  // the reference does not tell them
          .nlink = attr.stx_nlink,
          .uid = attr.stx_uid,
          .gid = attr.stx_gid,
          .mode = attr.stx_mode,
          .pad = 0,
          .ino = number.ino,
          .size = attr.stx_size,
          .blocks = attr.stx_blocks,
          .attributes_mask = 0,
          .atime = ToWire(attr.stx_atime),
          .btime = ToWire(attr.stx_btime),
          .ctime = ToWire(attr.stx_ctime),
          .mtime = ToWire(attr.stx_mtime),
          .rdev_major = attr.stx_rdev_major,
          .rdev_minor = attr.stx_rdev_minor,
          .dev_major = number.dev_major,
          .dev_minor = number.dev_minor};
}

ErrnoOr<DirAndName> WritableName(const Connection& connection, FdId dir, absl::string_view name) {
  RETURN_IF_ERROR(Name::CheckBytes(name));
  ASSIGN_OR_RETURN(RefPtr<ControlFd> control, connection.fds().Control(dir));
  if (!control->is_directory()) return Errno(ENOTDIR);
  if (control->deleted()) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const Name parsed, Name::Parse(name));
  return DirAndName{.dir = std::move(control), .name = parsed};
}

ErrnoOr<void> CheckType(uint32_t type) {
  switch (type) {
    case S_IFREG:
    case S_IFDIR:
    case S_IFLNK:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFCHR:
      return {};
    default:
      return Errno(EPERM);
  }
}

Inode NewInode(Connection& connection, gofer::fs::Entry entry) {
  return {.control_fd = connection.fds().Add(std::move(entry.dentry)),
          .stat = ToWire(connection, entry.attr)};
}

}  // namespace lisafs
