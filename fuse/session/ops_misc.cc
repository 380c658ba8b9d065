// IOCTL: the requests for inode flags and project ids (lsattr, chattr, xfs_quota).

#include <linux/fs.h>

#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

// Flags that a client may change. That a file is immutable or append-only binds the host too: the
// client's root alone may say so, and the host refuses it without the capability.
constexpr uint32_t kPrivilegedFlags = FS_IMMUTABLE_FL | FS_APPEND_FL;
constexpr uint32_t kChangeableFlags = kPrivilegedFlags | FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL |
                                      FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_NOCOMP_FL |
                                      FS_NOTAIL_FL | FS_DIRSYNC_FL | FS_TOPDIR_FL | FS_NOCOW_FL |
                                      FS_DAX_FL | FS_PROJINHERIT_FL | FS_CASEFOLD_FL;

// The commands of the 32-bit ABI say a size that nobody means: all these flags are 32 bits.
constexpr uint32_t kGetFlags32 = FS_IOC32_GETFLAGS;
constexpr uint32_t kSetFlags32 = FS_IOC32_SETFLAGS;
constexpr uint32_t kGetVersion32 = FS_IOC32_GETVERSION;

template <WireStruct T>
ErrnoOr<T> DataOf(const IoctlReq& request) {
  return OrEinval(DecodeFixed<T>("IOCTL", request.data));
}

template <WireStruct T>
ErrnoOr<void> ReplyWith(Call& call, const IoctlIn& in, const T& data) {
  if (in.out_size < sizeof(data)) return Errno(EINVAL);
  call.reply.Write(IoctlOut{});
  call.reply.Write(data);
  return {};
}

// A client that does not say who is asking has checked it.
bool IsRoot(const Call& call) { return call.header.uid == 0 || call.header.uid == kNoClientId; }

ErrnoOr<void> SetFlags(Connection& connection, const Call& call, fs::Handle& handle,
                       uint32_t wanted) {
  ASSIGN_OR_RETURN(const uint32_t flags, connection.filesystem().GetInodeFlags(handle));
  const uint32_t changed = wanted ^ flags;
  if ((changed & ~kChangeableFlags) != 0) return Errno(EOPNOTSUPP);
  if ((changed & kPrivilegedFlags) != 0 && !IsRoot(call)) return Errno(EPERM);
  return connection.filesystem().SetInodeFlags(handle, wanted);
}

ErrnoOr<void> SetAttributes(Connection& connection, const Call& call, fs::Handle& handle,
                            const struct fsxattr& wanted) {
  ASSIGN_OR_RETURN(const struct fsxattr now, connection.filesystem().GetFsxattr(handle));
  const uint32_t changed = wanted.fsx_xflags ^ now.fsx_xflags;
  if ((changed & (FS_XFLAG_IMMUTABLE | FS_XFLAG_APPEND)) != 0 && !IsRoot(call)) return Errno(EPERM);
  return connection.filesystem().SetFsxattr(handle, wanted);
}

}  // namespace

ErrnoOr<void> OnIoctl(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const IoctlReq request, OrEinval(DecodeIoctl(call.args)));
  const IoctlIn& in = request.fixed;
  ASSIGN_OR_RETURN(const OpenFile file, FileOf(connection, call, in.fh));
  fs::Filesystem& filesystem = connection.filesystem();
  // An unrestricted one would have us read the caller's memory.
  if ((in.flags & kIoctlUnrestricted) != 0) return Errno(ENOTTY);
  switch (in.cmd) {
    case FS_IOC_GETFLAGS:
    case kGetFlags32: {
      ASSIGN_OR_RETURN(const uint32_t flags, filesystem.GetInodeFlags(*file.handle));
      return ReplyWith(call, in, flags);
    }
    case FS_IOC_GETVERSION:
    case kGetVersion32: {
      ASSIGN_OR_RETURN(const uint32_t version, filesystem.GetInodeVersion(*file.handle));
      return ReplyWith(call, in, version);
    }
    case FS_IOC_FSGETXATTR: {
      ASSIGN_OR_RETURN(const struct fsxattr attributes, filesystem.GetFsxattr(*file.handle));
      return ReplyWith(call, in, attributes);
    }
    case FS_IOC_SETFLAGS:
    case kSetFlags32: {
      if (connection.options().readonly) return Errno(EROFS);
      ASSIGN_OR_RETURN(const uint32_t flags, DataOf<uint32_t>(request));
      RETURN_IF_ERROR(SetFlags(connection, call, *file.handle, flags));
      call.reply.Write(IoctlOut{});
      return {};
    }
    case FS_IOC_FSSETXATTR: {
      if (connection.options().readonly) return Errno(EROFS);
      ASSIGN_OR_RETURN(const auto attributes, DataOf<struct fsxattr>(request));
      RETURN_IF_ERROR(SetAttributes(connection, call, *file.handle, attributes));
      call.reply.Write(IoctlOut{});
      return {};
    }
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace gofer::fuse
