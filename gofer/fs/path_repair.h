// Path repair: finds out which names of the tree no longer lead to their files because somebody on
// the host has moved or removed these, and gives them the places that the files have by now.
//
// Clients do not need that: they work on open descriptors. An image does: it names its files.
//
// A file is first looked for where the kernel says that it is (/proc/self/fd), which is one call.
// What is not there (it has no descriptor; the name that it was opened by is gone, but not its
// others; that name is outside the root) is looked for in the whole tree, all such files in one go.
//
// Owner:   a save, or whoever prepares one. Threads: safe, while clients are served and change the
//          tree; one repair of a Filesystem at a time.
// Errors:  none: what is not found stays as it is, and is counted. ConfirmPaths:
//          kFailedPrecondition with each path that does not hold, and why.
// Memory:  a reference to each Dentry, and for the search what one listing buffer holds for each
//          level of directories.
// Source:  the design's section on checkpoints; spec/virtiofsd-parity.md L13 to L66.

#ifndef GOFER_FS_PATH_REPAIR_H_
#define GOFER_FS_PATH_REPAIR_H_

#include <atomic>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/prepared_files.h"

namespace gofer::fs {

// What long work on the tree looks at and reports to.
struct PathWatch {
  // Set by any thread to end the work; looked at before each file.
  const std::atomic<bool>* cancel = nullptr;
  // Called before the first file, then now and then, and at the end. `total` is an estimate: the
  // tree changes meanwhile.
  std::function<void(uint64_t done, uint64_t total)> progress = {};
};

struct PathRepair {
  uint64_t checked = 0;    // names in use
  uint64_t repaired = 0;   // led elsewhere, and lead to their files again
  uint64_t deleted = 0;    // their files have no name any more, and are marked so
  uint64_t not_found = 0;  // what a save would record is not true
  bool cancelled = false;  // then the counts are of what was done
};

// With `files`, keeps there what it has seen of those whose names were right.
PathRepair RepairPaths(Filesystem& filesystem, const PathWatch& watch = {},
                       PreparedFiles* files = nullptr);

// Checks all names in use, and changes nothing. kCancelled where the watch says so.
absl::Status ConfirmPaths(Filesystem& filesystem, const PathWatch& watch = {});

}  // namespace gofer::fs

#endif  // GOFER_FS_PATH_REPAIR_H_
