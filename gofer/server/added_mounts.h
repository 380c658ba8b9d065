// Files and directories of the host that are served at a path below the root, as a runtime's
// volumes are: each a mount in the gofer's own mount namespace, seen by nobody else.
//
// A source is looked up once, and held as a clone of its mounts from then on; a path below the root
// is walked name by name from the root, so that neither is led astray by a symbolic link. What is
// at the path has to exist: nothing is made on the host. Mounts are added in the order given, so
// that one may be at a path inside an earlier one.
//
// Threads: start-up, in a mount namespace of its own.
// Errors:  absl::Status with the mount as it was given.
// Source:  open_tree(2), move_mount(2); spec/security.md s.1 step 7.

#ifndef GOFER_SERVER_ADDED_MOUNTS_H_
#define GOFER_SERVER_ADDED_MOUNTS_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"

namespace gofer::server {

struct AddedMount {
  std::string source;
  std::string path;  // absolute, below the root
  bool read_only = false;
};

class AddedMounts {
 public:
  // The sources as they are now: before anything is put over them.
  static absl::StatusOr<AddedMounts> Clone(std::span<const AddedMount> mounts);

  // Below `root`, the served tree's.
  absl::Status AttachBelow(BorrowedFd root);

 private:
  struct Source {
    AddedMount mount;
    UniqueFd tree;
    bool is_directory;
  };
  std::vector<Source> sources_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_ADDED_MOUNTS_H_
