// --gofer-mount-confs: per mount, what is below (the gofer's files, an image, nothing) and what is
// above.
//
// Errors:  InvalidArgument with the entry. Threads: values.
// Source:  spec/runsc-gofer-launch.md s.4.

#ifndef GOFER_RUNSC_MOUNT_CONFS_H_
#define GOFER_RUNSC_MOUNT_CONFS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer::runsc {

struct MountConf {
  enum class Lower {
    kNone,    // the sandbox's own tmpfs; no io fd
    kLisafs,  // served by the gofer over the next io fd
    kErofs,   // an image that the sandbox has opened; no io fd
  };
  Lower lower = Lower::kNone;
  // The sandbox puts a writable layer of its own on top, wherever that keeps its data.
  bool overlaid = false;

  bool Served() const { return lower == Lower::kLisafs; }
  // Writes stay in the layer above, so none may reach the files.
  bool ReadOnly() const { return lower != Lower::kNone && overlaid; }
};

// "lower:upper[:size=N],…": the root first, then each bind mount of the spec in order.
absl::StatusOr<std::vector<MountConf>> ParseMountConfs(absl::string_view text);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_MOUNT_CONFS_H_
