// READLINK, SYMLINK, LINK.

#include <limits.h>

#include <array>

#include "fuse/session/creation.h"
#include "fuse/session/ops.h"

namespace gofer::fuse {

ErrnoOr<void> OnReadlink(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> node, NodeOf(connection, call));
  std::array<char, PATH_MAX> buffer;
  ASSIGN_OR_RETURN(const absl::string_view target, connection.filesystem().ReadLink(*node, buffer));
  if (target.size() > kMaxSymlinkTargetBytes) return Errno(ENAMETOOLONG);
  call.reply.WriteBytes(target);
  return {};
}

ErrnoOr<void> OnSymlink(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const SymlinkReq request,
                   OrEinval(DecodeSymlink(call.args, call.header.total_extlen)));
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, request.name));
  ASSIGN_OR_RETURN(const SymlinkTarget target, SymlinkTarget::Parse(request.target));
  ASSIGN_OR_RETURN(const fs::Creation creation,
                   CreationFor(connection, call, 0777, 0, request.extensions));
  ASSIGN_OR_RETURN(fs::Entry made,
                   connection.filesystem().MakeSymlink(*at.dir, at.name, target, creation));
  RETURN_IF_ERROR(Label(connection, request.extensions, *made.dentry, *at.dir, &at.name, 0));
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, *at.dir, std::move(made)));
  call.reply.Write(out);
  return {};
}

ErrnoOr<void> OnLink(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const NamedReq<LinkIn> request,
                   OrEinval(DecodeNamed<LinkIn>("LINK", call.args)));
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, request.name));
  ASSIGN_OR_RETURN(const RefPtr<fs::Dentry> target,
                   connection.nodes().Find(request.fixed.oldnodeid));
  ASSIGN_OR_RETURN(fs::Entry made, connection.filesystem().MakeLink(*at.dir, at.name, *target));
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, *at.dir, std::move(made)));
  call.reply.Write(out);
  return {};
}

}  // namespace gofer::fuse
