#include "checkpoint/fuse_codec.h"

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "checkpoint/codec.h"
#include "gofer/base/status_macros.h"

namespace gofer::checkpoint {
namespace {

using fuse::LockKind;
using fuse::NodeState;
using fuse::OpenFileState;
using fuse::RangeLockState;
using fuse::SessionState;

constexpr int kMaxSessions = 1024;
constexpr size_t kMaxWay = 4096;

template <typename... Parts>
absl::Status Damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("image: FUSE session: ", parts...));
}

void EncodeSession(const FuseClientState& client, FuseSession& message) {
  const SessionState& state = client.session;
  message.set_way(client.way);
  message.set_connected(state.connected);
  message.set_readonly(state.readonly);
  message.set_minor(state.minor);
  message.set_flags(state.flags);
  message.set_can_resend(state.can_resend);
  message.set_next_node_sequence(state.next_node_sequence);
  message.set_next_file_sequence(state.next_file_sequence);
  uint64_t last_id = 0;
  int64_t last_row = 0;
  for (const NodeState& node : state.nodes) {
    message.add_node_distance(node.id - std::exchange(last_id, node.id));
    message.add_node_row(int64_t{node.row} - std::exchange(last_row, int64_t{node.row}));
    message.add_node_lookups(node.lookups);
  }
  last_id = 0;
  for (const OpenFileState& file : state.files) {
    message.add_file_distance(file.id - std::exchange(last_id, file.id));
    message.add_file_node(file.node);
    message.add_file_row(file.row);
    message.add_file_flock(static_cast<uint32_t>(file.flock));
  }
  for (const RangeLockState& lock : state.locks) {
    FuseLock* const added = message.add_locks();
    added->set_row(lock.row);
    added->set_owner(lock.owner);
    added->set_exclusive(lock.exclusive);
    added->set_start(lock.start);
    added->set_end(lock.end);
  }
}

absl::Status CheckColumn(absl::string_view column, int rows, int wanted) {
  if (rows == wanted) return absl::OkStatus();
  return Damaged("column ", column, " has ", rows, " rows, its table ", wanted);
}

absl::Status CheckLimit(absl::string_view what, int rows) {
  if (static_cast<size_t>(rows) <= kMaxNodes) return absl::OkStatus();
  return Damaged(rows, " ", what, ", the limit is ", kMaxNodes);
}

// Ids ascend, so none is there twice.
absl::StatusOr<uint64_t> NextId(uint64_t id, uint64_t distance) {
  if (distance == 0 || distance > UINT64_MAX - id) {
    return Damaged("id ", id, " is followed by one at a distance of ", distance);
  }
  return id + distance;
}

absl::Status DecodeNodes(const FuseSession& message, SessionState& state) {
  const int rows = message.node_distance_size();
  RETURN_IF_ERROR(CheckLimit("nodes", rows));
  RETURN_IF_ERROR(CheckColumn("node_row", message.node_row_size(), rows));
  RETURN_IF_ERROR(CheckColumn("node_lookups", message.node_lookups_size(), rows));
  state.nodes.reserve(static_cast<size_t>(rows));
  uint64_t id = 0;
  uint64_t row = 0;
  for (int i = 0; i < rows; ++i) {
    ASSIGN_OR_RETURN(id, NextId(id, message.node_distance(i)));
    row += static_cast<uint64_t>(message.node_row(i));  // wraps: checked as a whole
    if (row >= kMaxNodes)
      return Damaged("node ", id, " is name ", row, ", the limit is ", kMaxNodes);
    if (message.node_lookups(i) == 0) return Damaged("node ", id, " has no lookups");
    state.nodes.push_back(
        {.id = id, .row = static_cast<uint32_t>(row), .lookups = message.node_lookups(i)});
  }
  return absl::OkStatus();
}

absl::Status DecodeFiles(const FuseSession& message, SessionState& state) {
  const int rows = message.file_distance_size();
  RETURN_IF_ERROR(CheckLimit("open files", rows));
  RETURN_IF_ERROR(CheckColumn("file_node", message.file_node_size(), rows));
  RETURN_IF_ERROR(CheckColumn("file_row", message.file_row_size(), rows));
  RETURN_IF_ERROR(CheckColumn("file_flock", message.file_flock_size(), rows));
  uint64_t id = 0;
  for (int i = 0; i < rows; ++i) {
    ASSIGN_OR_RETURN(id, NextId(id, message.file_distance(i)));
    const uint32_t flock = message.file_flock(i);
    if (flock > static_cast<uint32_t>(LockKind::kExclusive)) {
      return Damaged("file ", id, " has a lock of kind ", flock);
    }
    state.files.push_back({.id = id,
                           .node = message.file_node(i),
                           .row = message.file_row(i),
                           .flock = static_cast<LockKind>(flock)});
  }
  return absl::OkStatus();
}

absl::Status DecodeLocks(const FuseSession& message, SessionState& state) {
  RETURN_IF_ERROR(CheckLimit("locks", message.locks_size()));
  for (const FuseLock& lock : message.locks()) {
    if (lock.start() > lock.end() || lock.end() > INT64_MAX) {
      return Damaged("a lock is of bytes ", lock.start(), " to ", lock.end());
    }
    state.locks.push_back({.row = lock.row(),
                           .owner = lock.owner(),
                           .exclusive = lock.exclusive(),
                           .start = lock.start(),
                           .end = lock.end()});
  }
  return absl::OkStatus();
}

absl::StatusOr<FuseClientState> DecodeSession(const FuseSession& message) {
  FuseClientState client;
  if (message.way().size() > kMaxWay) {
    return Damaged("its way in has a name of ", message.way().size(), " bytes, the limit is ",
                   kMaxWay);
  }
  client.way = message.way();
  SessionState& state = client.session;
  state.connected = message.connected();
  state.readonly = message.readonly();
  state.minor = message.minor();
  state.flags = message.flags();
  state.can_resend = message.can_resend();
  state.next_node_sequence = message.next_node_sequence();
  state.next_file_sequence = message.next_file_sequence();
  RETURN_IF_ERROR(DecodeNodes(message, state));
  RETURN_IF_ERROR(DecodeFiles(message, state));
  RETURN_IF_ERROR(DecodeLocks(message, state));
  const bool empty = state.nodes.empty() && state.files.empty() && state.locks.empty();
  if (!state.connected && !empty) return Damaged("it knows files, and has not said INIT");
  return client;
}

}  // namespace

void Encode(std::span<const FuseClientState> clients, Image& image) {
  for (const FuseClientState& client : clients) EncodeSession(client, *image.add_fuse());
}

absl::StatusOr<std::vector<FuseClientState>> DecodeFuse(const Image& image) {
  if (image.fuse_size() > kMaxSessions) {
    return Damaged(image.fuse_size(), " of them, the limit is ", kMaxSessions);
  }
  std::vector<FuseClientState> clients;
  for (const FuseSession& message : image.fuse()) {
    ASSIGN_OR_RETURN(FuseClientState client, DecodeSession(message));
    clients.push_back(std::move(client));
  }
  return clients;
}

}  // namespace gofer::checkpoint
