// OpenAt and OpenCreateAt.

#include <fcntl.h>
#include <sys/stat.h>

#include "lisafs/server/handlers.h"

namespace lisafs {
namespace {

// What a client may ask for; the rest of open(2)'s flags is dropped silently.
constexpr uint32_t kOpenFlags = O_ACCMODE | O_TRUNC;

ErrnoOr<void> CheckOpenPolicy(const ServerOptions& options, uint32_t type) {
  const bool allowed =
      type == S_IFIFO    ? options.host_fifo_open
      : type == S_IFSOCK ? MayConnect(options.host_uds)
      : type == S_IFCHR  ? options.character_device_open || options.personality != Personality::kV26
                         : true;
  if (!allowed) return Errno(EPERM);
  return {};
}

// Regular files, since the client is faster on its own; FIFOs and devices, since it cannot use them
// otherwise; of directories only the mount point, with directfs.
bool IsDonated(const Connection& connection, const ControlFd& file) {
  const ServerOptions& options = connection.server_options();
  switch (file.type()) {
    case S_IFREG:
      return options.donate_fds || (options.donate_mount_fd && connection.IsMountPoint(file));
    case S_IFIFO:
    case S_IFCHR:
      return true;
    default:
      return options.donate_mount_fd && connection.IsMountPoint(file);
  }
}

}  // namespace

ErrnoOr<void> OnOpenAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const OpenAtReq request, OrEio(DecodeFixed<OpenAtReq>("OpenAt", call.payload)));
  const auto flags = static_cast<int>(request.flags & kOpenFlags);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (connection.options().readonly && writes) return Errno(EROFS);
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().Control(request.fd));
  if (file->is_directory() && writes) return Errno(EISDIR);
  if (file->type() == S_IFLNK) return Errno(EINVAL);
  RETURN_IF_ERROR(CheckOpenPolicy(connection.server_options(), file->type()));
  ASSIGN_OR_RETURN(RefPtr<OpenFd> handle, connection.filesystem().Open(*file, flags));
  // Before the id exists, as another channel could guess it and use the descriptor that is given
  // away.
  if (IsDonated(connection, *file)) call.donated.Give(handle->Donate());
  call.body.Write(OpenAtResp{connection.fds().Add(std::move(handle))});
  return {};
}

ErrnoOr<void> OnOpenCreateAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const OpenCreateAtReq request,
                   OrEio(DecodeNamed<OpenCreateAtReqFixed>("OpenCreateAt", call.payload)));
  const CreateCommon common = request.fixed.create_common;
  ASSIGN_OR_RETURN(const DirAndName at, WritableName(connection, common.dir_fd, request.name));
  const auto access = static_cast<int>(request.fixed.flags & O_ACCMODE);
  ASSIGN_OR_RETURN(
      gofer::fs::OpenEntry created,
      connection.filesystem().CreateFile(*at.dir, at.name, common.mode,
                                         {.uid = common.uid, .gid = common.gid}, access));
  if (connection.server_options().donate_fds) call.donated.Give(created.handle->Donate());
  const Inode child = NewInode(connection, std::move(created.entry));
  call.body.Write(
      OpenCreateAtResp{.child = child, .open_fd = connection.fds().Add(std::move(created.handle))});
  return {};
}

}  // namespace lisafs
