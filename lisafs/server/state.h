// What must survive of the LISAFS front end: which ids its clients hold. Values only; rows are
// those of the fs::FilesystemState that is saved along. Untrusted until a restore has accepted it.
//
// Source: spec/lisafs.md s.9; the design's section on checkpoints.

#ifndef LISAFS_SERVER_STATE_H_
#define LISAFS_SERVER_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace lisafs {

enum class FdKind : uint8_t { kNone, kControl, kOpen, kBound };

struct FdState {
  uint64_t id = 0;
  FdKind kind = FdKind::kNone;
  uint32_t row = 0;  // kOpen: of the open files; else: of the names
  // kBound: SOCK_STREAM, ..., and whether clients may connect.
  uint32_t socket_type = 0;
  bool listening = false;
  uint32_t backlog = 0;
  friend bool operator==(const FdState&, const FdState&) = default;
};

struct ConnectionState {
  std::string mount_path;
  bool readonly = false;
  uint32_t mount_point = 0xffffffff;  // row of the name that Mount gave out; 0xffffffff: none yet
  uint64_t next_id = 1;
  std::vector<FdState> fds;
  friend bool operator==(const ConnectionState&, const ConnectionState&) = default;
};

struct ServerState {
  std::vector<ConnectionState> connections;
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_STATE_H_
