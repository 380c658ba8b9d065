// Finds where a mount destination is inside the container's root, as a process in the container
// would: symlinks are followed below the root, `..` does not lead out of it, and what does not
// exist is taken as written.
//
// The walk goes from descriptor to descriptor, one name at a time: nobody can move it out of the
// root, not even by changing the tree meanwhile.
//
// Owner:   a Place owns descriptors of what it found. Threads: any.
// Errors:  absl::Status with the path and the kernel's error; ELOOP beyond 255 symlinks.
// Source:  spec/runsc-gofer-launch.md s.5.3.

#ifndef GOFER_RUNSC_MOUNT_RESOLVER_H_
#define GOFER_RUNSC_MOUNT_RESOLVER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::runsc {

// A path without symlinks below a root, part of which may not exist.
class Place {
 public:
  // "/a/b"; the root is "/".
  std::string Path() const;
  bool IsRoot() const { return steps_.empty(); }
  // Whether all of it exists; then `file` is what is there.
  bool Exists() const { return steps_.empty() || steps_.back().file.valid(); }
  // Of what exists, O_PATH. The root for the root.
  BorrowedFd file() const { return steps_.empty() ? root_ : steps_.back().file.borrow(); }

  // Makes what is missing, directories with `mode` less the umask. ENOTDIR if a file is in the way.
  absl::Status MakeDirectory(uint32_t mode);
  // Makes what is missing: directories, and an empty file at the end. EISDIR if a directory is
  // there.
  absl::Status MakeFile(uint32_t mode);

 private:
  friend class Resolver;

  struct Step {
    Name name;
    UniqueFd file;  // not valid: does not exist
  };

  explicit Place(BorrowedFd root) : root_(root) {}
  // The directory that the last step is in.
  BorrowedFd Parent(size_t step) const {
    return step == 0 ? root_ : steps_[step - 1].file.borrow();
  }
  absl::Status MakeDirectories(size_t count, uint32_t mode);
  absl::StatusOr<bool> IsDirectory() const;

  BorrowedFd root_;
  std::vector<Step> steps_;
};

// `root` is a directory that outlives the Place.
absl::StatusOr<Place> ResolveInRoot(BorrowedFd root, absl::string_view path);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_MOUNT_RESOLVER_H_
