// What must survive of a FUSE session: what INIT agreed on, and what the client can name and has
// locked. Values only; rows are those of the fs::FilesystemState that is saved along. Untrusted
// until a restore has accepted it.
//
// Where a client is in a directory it says itself, in each READDIR; and a request that waits for a
// lock is not here: whoever carries it has its client ask again, see Session::Save.
//
// Source: spec/fuse.md s.21; spec/vhost-user-fs.md s.15; the design's section on checkpoints.

#ifndef FUSE_SESSION_STATE_H_
#define FUSE_SESSION_STATE_H_

#include <cstdint>
#include <vector>

namespace gofer::fuse {

// A node that the client knows; the root is always one and is not listed.
struct NodeState {
  uint64_t id = 0;
  uint32_t row = 0;      // of the names
  uint64_t lookups = 0;  // at least one
  friend bool operator==(const NodeState&, const NodeState&) = default;
};

enum class LockKind : uint8_t { kNone, kShared, kExclusive };

struct OpenFileState {
  uint64_t id = 0;
  uint64_t node = 0;  // that it was opened on
  uint32_t row = 0;   // of the open files
  LockKind flock = LockKind::kNone;
  friend bool operator==(const OpenFileState&, const OpenFileState&) = default;
};

// A stretch of a file that an owner, whom the client numbers, has locked.
struct RangeLockState {
  uint32_t row = 0;  // of the names
  uint64_t owner = 0;
  bool exclusive = false;
  uint64_t start = 0;
  uint64_t end = 0;  // the last byte; INT64_MAX: the end of the file, wherever it is
  friend bool operator==(const RangeLockState&, const RangeLockState&) = default;
};

struct SessionState {
  // Whether INIT has been agreed on; if not, nothing else counts.
  bool connected = false;
  bool readonly = false;
  uint32_t minor = 0;
  uint64_t flags = 0;  // granted, of namespace init
  bool can_resend = false;
  // What no id has had yet, see NodeTable::next_sequence.
  uint32_t next_node_sequence = 1;
  uint32_t next_file_sequence = 1;
  std::vector<NodeState> nodes;      // in the order of ids
  std::vector<OpenFileState> files;  // likewise
  std::vector<RangeLockState> locks;
  friend bool operator==(const SessionState&, const SessionState&) = default;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_STATE_H_
