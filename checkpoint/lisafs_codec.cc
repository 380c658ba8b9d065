#include "checkpoint/lisafs_codec.h"

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/codec.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/state.h"

namespace gofer::checkpoint {
namespace {

using lisafs::ConnectionState;
using lisafs::FdKind;
using lisafs::FdState;

constexpr size_t kMaxConnections = 1024;
constexpr size_t kMaxPath = 4096;

template <typename... Parts>
absl::Status Damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("image: LISAFS connection: ", parts...));
}

void EncodeConnection(const ConnectionState& state, LisafsConnection& message) {
  message.set_mount_path(state.mount_path);
  message.set_readonly(state.readonly);
  message.set_mount_point(state.mount_point + 1);  // kNoIndex becomes 0
  message.set_next_id(state.next_id);
  uint64_t last = 0;
  for (const FdState& fd : state.fds) {
    message.add_id_distance(fd.id - std::exchange(last, fd.id));
    message.add_kind(static_cast<uint32_t>(fd.kind));
    message.add_row(fd.row);
    if (fd.kind != FdKind::kBound) continue;
    BoundSocket* const socket = message.add_sockets();
    socket->set_position(static_cast<uint32_t>(message.kind_size() - 1));
    socket->set_type(fd.socket_type);
    socket->set_listening(fd.listening);
    socket->set_backlog(fd.backlog);
  }
}

absl::Status DecodeSockets(const LisafsConnection& message, ConnectionState& state) {
  size_t bound = 0;
  for (const FdState& fd : state.fds) bound += fd.kind == FdKind::kBound ? 1 : 0;
  if (static_cast<size_t>(message.sockets_size()) != bound) {
    return Damaged(message.sockets_size(), " bound sockets are described, ", bound, " have ids");
  }
  for (const BoundSocket& from : message.sockets()) {
    if (from.position() >= state.fds.size() || state.fds[from.position()].kind != FdKind::kBound) {
      return Damaged("what is at ", from.position(), " is no bound socket");
    }
    FdState& fd = state.fds[from.position()];
    if (from.type() != SOCK_STREAM && from.type() != SOCK_DGRAM && from.type() != SOCK_SEQPACKET) {
      return Damaged("a bound socket has type ", from.type());
    }
    if (fd.socket_type != 0) return Damaged("socket ", fd.id, " is described twice");
    fd.socket_type = from.type();
    fd.listening = from.listening();
    fd.backlog = from.backlog();
  }
  return absl::OkStatus();
}

absl::StatusOr<ConnectionState> DecodeConnection(const LisafsConnection& message) {
  ConnectionState state;
  if (message.mount_path().empty() || message.mount_path().front() != '/' ||
      message.mount_path().size() > kMaxPath) {
    return Damaged("a mount path of ", message.mount_path().size(),
                   " bytes, which is not absolute");
  }
  state.mount_path = message.mount_path();
  state.readonly = message.readonly();
  state.mount_point = message.mount_point() - 1;
  state.next_id = message.next_id();
  const int count = message.kind_size();
  if (static_cast<size_t>(count) > kMaxNodes) {
    return Damaged(count, " ids, the limit is ", kMaxNodes);
  }
  if (message.id_distance_size() != count || message.row_size() != count) {
    return Damaged(message.id_distance_size(), " ids, ", message.row_size(), " rows and ", count,
                   " kinds");
  }
  uint64_t id = 0;
  for (int i = 0; i < count; ++i) {
    if (message.id_distance(i) == 0 || message.id_distance(i) > UINT64_MAX - id) {
      return Damaged("id ", id, " is followed by one at a distance of ", message.id_distance(i));
    }
    id += message.id_distance(i);
    const uint32_t kind = message.kind(i);
    if (kind < static_cast<uint32_t>(FdKind::kControl) ||
        kind > static_cast<uint32_t>(FdKind::kBound)) {
      return Damaged("id ", id, " is of kind ", kind);
    }
    state.fds.push_back({.id = id, .kind = static_cast<FdKind>(kind), .row = message.row(i)});
  }
  RETURN_IF_ERROR(DecodeSockets(message, state));
  return state;
}

}  // namespace

void Encode(const lisafs::ServerState& state, Image& image) {
  for (const ConnectionState& connection : state.connections) {
    EncodeConnection(connection, *image.add_lisafs());
  }
}

absl::StatusOr<lisafs::ServerState> DecodeLisafs(const Image& image) {
  if (static_cast<size_t>(image.lisafs_size()) > kMaxConnections) {
    return Damaged(image.lisafs_size(), " of them, the limit is ", kMaxConnections);
  }
  lisafs::ServerState state;
  for (const LisafsConnection& message : image.lisafs()) {
    ASSIGN_OR_RETURN(ConnectionState connection, DecodeConnection(message));
    state.connections.push_back(std::move(connection));
  }
  return state;
}

}  // namespace gofer::checkpoint
