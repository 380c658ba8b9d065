// MountKeeper: a FUSE mount in the host's tree that is there exactly as long as it is served.
//
// The process that serves leaves the host's mount namespace and gives up the right to mount before
// it reads a request. So a helper process, forked before, stays outside: it puts the mount in its
// place when told to, and takes it away when told to or when the process that serves is gone,
// however it went. It holds nothing of the connection, reads nothing but its socket, and keeps no
// capability but SYS_ADMIN and DAC_READ_SEARCH.
//
// Owner:   the socket to the helper. Destroying it without Detach unmounts as well, but does not
//          wait.
// Threads: Create before there is a second thread. Attach and Detach from one thread at a time.
// Errors:  absl::Status with the mount point.
// Source:  fsopen(2), umount2(2); spec/security.md s.1.

#ifndef FUSE_DEV_MOUNT_KEEPER_H_
#define FUSE_DEV_MOUNT_KEEPER_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"

namespace gofer::fuse {

struct MountOptions {
  std::string source;  // the served directory, as df(1) shows it
  bool allow_other = false;
  bool read_only = false;
};

class MountKeeper {
 public:
  // Makes the mount and the helper; `device` has none yet. The mount is not in the tree until
  // Attach, so a mount point below the served directory, or that directory itself, is no problem
  // to a server that has its own copy of the tree by then.
  static absl::StatusOr<MountKeeper> Create(BorrowedFd device, const std::string& mountpoint,
                                            const MountOptions& options);

  absl::Status Attach();
  // Unmounts: what clients have written is flushed first, so requests have to be served meanwhile.
  // Those who still use the mount get ENOTCONN afterwards. No error if somebody else has unmounted
  // it before. Does not wait longer than the requests that it takes, of which those for what the
  // kernel has kept back get 2 s.
  absl::Status Detach();

 private:
  MountKeeper(UniqueFd helper, std::string path)
      : helper_(std::move(helper)), path_(std::move(path)) {}

  absl::Status Command(int32_t command, absl::string_view what);

  UniqueFd helper_;
  std::string path_;
};

}  // namespace gofer::fuse

#endif  // FUSE_DEV_MOUNT_KEEPER_H_
