// SymlinkAt, LinkAt, ReadLinkAt.

#include <sys/stat.h>

#include "lisafs/server/handlers.h"

namespace lisafs {

ErrnoOr<void> OnSymlinkAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const SymlinkAtReq request,
                   OrEio(DecodePair<SymlinkAtReqFixed>("SymlinkAt", call.payload)));
  ASSIGN_OR_RETURN(const DirAndName at,
                   WritableName(connection, request.fixed.dir_fd, request.first));
  ASSIGN_OR_RETURN(const gofer::SymlinkTarget target, gofer::SymlinkTarget::Parse(request.second));
  ASSIGN_OR_RETURN(
      gofer::fs::Entry made,
      connection.filesystem().MakeSymlink(*at.dir, at.name, target,
                                          {.uid = request.fixed.uid, .gid = request.fixed.gid}));
  call.body.Write(NewInode(connection, std::move(made)));
  return {};
}

ErrnoOr<void> OnLinkAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const LinkAtReq request,
                   OrEio(DecodeNamed<LinkAtReqFixed>("LinkAt", call.payload)));
  RETURN_IF_ERROR(Name::CheckBytes(request.name));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> dir, connection.fds().Control(request.fixed.dir_fd));
  if (!dir->is_directory()) return Errno(ENOTDIR);
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> target,
                   connection.fds().Control(request.fixed.target_fd));
  if (target->is_directory()) return Errno(EPERM);
  if (dir->deleted() || target->deleted()) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const Name name, Name::Parse(request.name));
  ASSIGN_OR_RETURN(gofer::fs::Entry made, connection.filesystem().MakeLink(*dir, name, *target));
  call.body.Write(NewInode(connection, std::move(made)));
  return {};
}

ErrnoOr<void> OnReadLinkAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const StatReq request, OrEio(DecodeFixed<StatReq>("ReadLinkAt", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> link, connection.fds().Control(request.fd));
  if (link->type() != S_IFLNK) return Errno(EINVAL);
  if (link->deleted()) {
    WriteString("", call.body);  // what every release answers, though it means EINVAL
    return {};
  }
  char buffer[gofer::kMaxSymlinkTargetBytes + 1];
  ASSIGN_OR_RETURN(const absl::string_view target, connection.filesystem().ReadLink(*link, buffer));
  WriteString(target, call.body);
  return {};
}

}  // namespace lisafs
