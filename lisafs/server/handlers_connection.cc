// Mount, Channel, Close.

#include <fcntl.h>

#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "lisafs/server/handlers.h"
#include "lisafs/server/op_table.h"
#include "lisafs/wire/responses.h"

namespace lisafs {
namespace {

// The mount point, walked to one component at a time from the served root like any other file, so
// that it is the same Dentry for every connection and no symlink leads elsewhere.
ErrnoOr<gofer::fs::Entry> WalkToMountPoint(Connection& connection) {
  gofer::fs::Filesystem& filesystem = connection.filesystem();
  gofer::fs::Entry at = {.dentry = RefPtr<ControlFd>(&filesystem.root()), .attr = {}};
  ASSIGN_OR_RETURN(at.attr, filesystem.Stat(*at.dentry));
  for (const absl::string_view component :
       absl::StrSplit(connection.options().mount_path, '/', absl::SkipEmpty())) {
    ASSIGN_OR_RETURN(const Name name, Name::Parse(component));
    ASSIGN_OR_RETURN(at, filesystem.Lookup(*at.dentry, name));
  }
  RETURN_IF_ERROR(CheckType(at.dentry->type()));
  return at;
}

}  // namespace

ErrnoOr<void> OnMount(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(gofer::fs::Entry root, WalkToMountPoint(connection));
  if (connection.server_options().donate_mount_fd) {
    // A description of its own, so that nothing the client does to it is seen here.
    ASSIGN_OR_RETURN(const RefPtr<OpenFd> handle,
                     connection.filesystem().Open(*root.dentry, O_RDONLY));
    call.donated.Give(handle->Donate());
  }
  connection.SetMountPoint(root.dentry);
  call.body.Write(MountRespFixed{.root = NewInode(connection, std::move(root)),
                                 .max_message_size = kMaxMessageSize});
  const std::span<const MessageId> ids = AnnouncedIds(connection.server_options().personality);
  call.body.Write(static_cast<uint16_t>(ids.size()));
  for (const MessageId id : ids) call.body.Write(id);
  return {};
}

ErrnoOr<void> OnChannel(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(Connection::NewChannel channel, connection.AddChannel());
  call.donated.Lend(channel.memory);
  call.donated.Give(std::move(channel.client_socket));
  call.body.Write(channel.place);
  return {};
}

ErrnoOr<void> OnClose(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FdIdArray ids, OrEio(DecodeFdIdArray("Close", call.payload)));
  for (size_t i = 0; i < ids.size(); ++i) connection.fds().Close(ids[i]);
  return {};
}

}  // namespace lisafs
