// Saving and restoring what a session's client knows.

#include <fcntl.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "fuse/session/negotiation.h"
#include "fuse/session/session.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/posix_locks.h"

namespace gofer::fuse {
namespace {

// Names in a message; more of them help nobody.
constexpr size_t kMaxNamed = 100;

template <typename... Parts>
absl::Status Damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("image: FUSE session: ", parts...));
}

LockKind KindOf(short type) {
  if (type == F_RDLCK) return LockKind::kShared;
  return type == F_WRLCK ? LockKind::kExclusive : LockKind::kNone;
}
short TypeOf(LockKind kind) {
  if (kind == LockKind::kShared) return F_RDLCK;
  return kind == LockKind::kExclusive ? F_WRLCK : F_UNLCK;
}

// The files whose locks could not be had, for a message that names all of them.
class LostLocks {
 public:
  explicit LostLocks(fs::Filesystem& filesystem) : filesystem_(filesystem) {}

  void Add(const fs::Dentry& dentry, const fs::LockRange& range, absl::string_view why) {
    const bool to_end = range.end == kLockToEnd;
    Add(dentry, absl::StrCat("bytes ", range.start, " to ", to_end ? "the end" : "",
                             to_end ? "" : absl::StrCat(range.end), ": ", why));
  }
  void Add(const fs::Dentry& dentry, absl::string_view what) {
    lost_.push_back(absl::StrCat(absl::CHexEscape(filesystem_.PathOf(dentry)), ": ", what));
  }
  absl::Status ToStatus() const {
    if (lost_.empty()) return absl::OkStatus();
    const size_t named = std::min(lost_.size(), kMaxNamed);
    return absl::FailedPreconditionError(absl::StrCat(
        lost_.size(), " locks of a FUSE client cannot be taken again: ",
        absl::StrJoin(lost_.begin(), lost_.begin() + static_cast<ptrdiff_t>(named), "; "),
        named < lost_.size() ? "; ..." : ""));
  }

 private:
  fs::Filesystem& filesystem_;
  std::vector<std::string> lost_;
};

absl::Status CheckOptions(const SessionState& state, const SessionOptions& options) {
  if (state.minor < kOldestMinor || state.minor > kMinor) {
    return Damaged("speaks version 7.", state.minor, ", not 7.", kOldestMinor, " to 7.", kMinor);
  }
  if (state.readonly != options.readonly) {
    return absl::FailedPreconditionError(
        absl::StrCat("image: a FUSE session was ", state.readonly ? "read-only" : "writable",
                     ", now it is ", options.readonly ? "read-only" : "writable"));
  }
  return CheckGranted({.minor = state.minor, .flags = state.flags}, options);
}

absl::Status RestoreNodes(const SessionState& state, fs::TreeRestore& tree, NodeTable& nodes) {
  const size_t rows = tree.state().dentries.size();
  std::vector<NodeTable::Saved> saved;
  saved.reserve(state.nodes.size());
  for (const NodeState& node : state.nodes) {
    if (node.row >= rows) return Damaged("node ", node.id, " is name ", node.row, " of ", rows);
    saved.push_back({.id = static_cast<NodeId>(node.id),
                     .dentry = tree.dentry(node.row),
                     .lookups = node.lookups});
  }
  const std::optional<NodeId> bad = nodes.Restore(std::move(saved), state.next_node_sequence);
  if (!bad.has_value()) return absl::OkStatus();
  return Damaged("node ", static_cast<uint64_t>(*bad),
                 " is there twice, or cannot have been given out yet");
}

absl::Status RestoreFiles(const SessionState& state, fs::TreeRestore& tree, HandleTable& files) {
  const size_t rows = tree.state().handles.size();
  std::vector<HandleTable::Saved> saved;
  std::vector<bool> taken(rows);
  for (const OpenFileState& file : state.files) {
    if (file.row >= rows)
      return Damaged("file ", file.id, " is open file ", file.row, " of ", rows);
    // Each has a lock and a position of its own.
    if (taken[file.row]) return Damaged("open file ", file.row, " has two ids");
    taken[file.row] = true;
    const RefPtr<fs::Handle>& handle = tree.handle(file.row);
    saved.push_back({.id = static_cast<HandleId>(file.id),
                     .node = static_cast<NodeId>(file.node),
                     .file = {.handle = handle, .flags = handle->flags()}});
  }
  const std::optional<HandleId> bad = files.Restore(std::move(saved), state.next_file_sequence);
  if (!bad.has_value()) return absl::OkStatus();
  return Damaged("file ", static_cast<uint64_t>(*bad),
                 " is there twice, or cannot have been given out yet");
}

absl::Status RestoreLocks(const SessionState& state, fs::TreeRestore& tree,
                          Connection& connection) {
  LostLocks lost(connection.filesystem());
  for (const OpenFileState& file : state.files) {
    fs::Handle& handle = *tree.handle(file.row);
    if (file.flock == LockKind::kNone || handle.dentry().inode().lost()) continue;
    const ErrnoOr<void> taken = connection.filesystem().FLock(handle, TypeOf(file.flock));
    if (!taken.ok()) {
      lost.Add(handle.dentry(), absl::StrCat("flock: ", taken.error().ToString()));
    }
  }
  const size_t rows = tree.state().dentries.size();
  for (const RangeLockState& lock : state.locks) {
    if (lock.row >= rows) return Damaged("a lock is of name ", lock.row, " of ", rows);
    if (lock.start > lock.end || lock.end > kLockToEnd) {
      return Damaged("a lock is of bytes ", lock.start, " to ", lock.end);
    }
    fs::Dentry& dentry = *tree.dentry(lock.row);
    // Nobody can use a file that was not found; its locks would guard another one's bytes.
    if (dentry.inode().lost()) continue;
    const fs::LockRange range = {.type = lock.exclusive ? short{F_WRLCK} : short{F_RDLCK},
                                 .start = lock.start,
                                 .end = lock.end};
    const ErrnoOr<void> taken = connection.SetLock(dentry, lock.owner, range);
    if (!taken.ok()) lost.Add(dentry, range, taken.error().ToString());
  }
  return lost.ToStatus();
}

}  // namespace

SessionState Session::Save(fs::Snapshot& snapshot) const {
  SessionState state;
  const RefPtr<Connection> connection = this->connection();
  if (!connection) return state;
  state.connected = true;
  state.readonly = options_.readonly;
  state.minor = connection->granted().minor;
  state.flags = connection->granted().flags;
  state.can_resend = connection->granted().can_resend;
  state.next_node_sequence = connection->nodes().next_sequence();
  state.next_file_sequence = connection->handles().next_sequence();
  for (const NodeTable::Saved& node : connection->nodes().All()) {
    state.nodes.push_back({.id = static_cast<uint64_t>(node.id),
                           .row = snapshot.Add(*node.dentry),
                           .lookups = node.lookups});
  }
  for (const HandleTable::Saved& saved : connection->handles().All()) {
    state.files.push_back({.id = static_cast<uint64_t>(saved.id),
                           .node = static_cast<uint64_t>(saved.node),
                           .row = snapshot.Add(*saved.file.handle),
                           .flock = KindOf(saved.file.handle->flock())});
  }
  for (const fs::PosixLocks::OfOwner& held : connection->locks().All()) {
    const uint32_t row = snapshot.Add(*held.dentry);
    for (const fs::LockRange& range : held.ranges) {
      state.locks.push_back({.row = row,
                             .owner = held.owner,
                             .exclusive = range.type == F_WRLCK,
                             .start = range.start,
                             .end = range.end});
    }
  }
  return state;
}

absl::Status Session::Restore(const SessionState& state, fs::TreeRestore& tree) {
  Reset();
  if (!state.connected) return absl::OkStatus();
  RETURN_IF_ERROR(CheckOptions(state, options_));
  auto connection = MakeRef<Connection>(
      filesystem_, options_,
      Granted{.minor = state.minor, .flags = state.flags, .can_resend = state.can_resend}, waiter_);
  absl::Status restored = RestoreNodes(state, tree, connection->nodes());
  if (restored.ok()) restored = RestoreFiles(state, tree, connection->handles());
  if (restored.ok()) restored = RestoreLocks(state, tree, *connection);
  if (!restored.ok()) {
    connection->Close();
    return restored;
  }
  Replace(std::move(connection));
  return absl::OkStatus();
}

void Session::LetGoOfLocks() {
  const RefPtr<Connection> connection = this->connection();
  if (!connection || locks_let_go_.exchange(true)) return;
  connection->locks().LetGo();
  connection->LetGoOfFlocks();
}

absl::Status Session::TakeLocksAgain() {
  if (!locks_let_go_.exchange(false)) return absl::OkStatus();
  const RefPtr<Connection> connection = this->connection();
  if (!connection) return absl::OkStatus();
  LostLocks lost(filesystem_);
  for (const fs::PosixLocks::OfOwner& held : connection->locks().TakeAgain()) {
    for (const fs::LockRange& range : held.ranges) {
      lost.Add(*held.dentry, range, "somebody else has it by now");
    }
  }
  for (const RefPtr<fs::Handle>& handle : connection->TakeFlocksAgain()) {
    lost.Add(handle->dentry(), "flock: somebody else has it by now");
  }
  return lost.ToStatus();
}

}  // namespace gofer::fuse
