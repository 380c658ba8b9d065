// Connect, ConnectWithCreds, BindAt, Listen, Accept: host sockets, where the policy allows them.

#include <sys/socket.h>
#include <sys/stat.h>

#include "gofer/sys/socket.h"
#include "lisafs/server/handlers.h"

namespace lisafs {
namespace {

ErrnoOr<void> CheckSocketType(uint32_t type) {
  if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET) return Errno(ENXIO);
  return {};
}

ErrnoOr<void> ConnectAs(Connection& connection, Call& call, FdId id, uint32_t type,
                        const gofer::sys::Credentials* creds) {
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().Control(id));
  if (file->type() != S_IFSOCK) return Errno(ENOTSOCK);
  if (file->deleted()) return Errno(EINVAL);
  if (!MayConnect(connection.server_options().host_uds)) return Errno(EPERM);
  RETURN_IF_ERROR(CheckSocketType(type));
  ASSIGN_OR_RETURN(gofer::UniqueFd socket,
                   connection.filesystem().Connect(*file, static_cast<int>(type), creds));
  call.donated.Give(std::move(socket));
  return {};
}

ErrnoOr<RefPtr<BoundSocket>> LiveSocket(const Connection& connection, FdId id) {
  ASSIGN_OR_RETURN(RefPtr<BoundSocket> socket, connection.fds().Bound(id));
  if (socket->dentry().deleted()) return Errno(EINVAL);
  return socket;
}

}  // namespace

ErrnoOr<void> OnConnect(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ConnectReq request,
                   OrEio(DecodeFixed<ConnectReq>("Connect", call.payload)));
  return ConnectAs(connection, call, request.fd, request.sock_type, nullptr);
}

ErrnoOr<void> OnConnectWithCreds(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ConnectWithCredsReq request,
                   OrEio(DecodeFixed<ConnectWithCredsReq>("ConnectWithCreds", call.payload)));
  const gofer::sys::Credentials creds = {.uid = request.uid, .gid = request.gid};
  return ConnectAs(connection, call, request.fd, request.sock_type, &creds);
}

ErrnoOr<void> OnBindAt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const BindAtReq request,
                   OrEio(DecodeNamed<BindAtReqFixed>("BindAt", call.payload)));
  const CreateCommon common = request.fixed.create_common;
  ASSIGN_OR_RETURN(const DirAndName at, WritableName(connection, common.dir_fd, request.name));
  // EPERM, and nothing else, makes a sentry bind inside itself.
  if (!MayBind(connection.server_options().host_uds)) return Errno(EPERM);
  const uint32_t type = request.fixed.sock_type;
  RETURN_IF_ERROR(CheckSocketType(type));
  ASSIGN_OR_RETURN(
      gofer::fs::BoundEntry bound,
      connection.filesystem().Bind(*at.dir, at.name, static_cast<int>(type), common.mode,
                                   {.uid = common.uid, .gid = common.gid}));
  // The client watches its copy for connections; the table keeps the socket until the reply is out,
  // and if the client closes the id at once, until then at least in `donated`.
  auto socket = gofer::MakeRef<BoundSocket>(bound.entry.dentry, std::move(bound.socket), type);
  call.donated.Give(std::move(bound.copy));
  const Inode child = NewInode(connection, std::move(bound.entry));
  call.body.Write(
      BindAtResp{.child = child, .bound_socket_fd = connection.fds().Add(std::move(socket))});
  return {};
}

ErrnoOr<void> OnListen(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ListenReq request, OrEio(DecodeFixed<ListenReq>("Listen", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<BoundSocket> socket, LiveSocket(connection, request.fd));
  return socket->Listen(request.backlog);
}

ErrnoOr<void> OnAccept(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const StatReq request, OrEio(DecodeFixed<StatReq>("Accept", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<BoundSocket> socket, LiveSocket(connection, request.fd));
  ASSIGN_OR_RETURN(gofer::UniqueFd accepted, gofer::sys::Accept(socket->socket()));
  call.donated.Give(std::move(accepted));
  WriteString("", call.body);  // a peer's address on the host is nothing a client should see
  return {};
}

}  // namespace lisafs
