// Which files a confined process may open and make, by where they are: the served tree alone.
//
// One more wall behind the others, for kernels that have it: it holds too when a descriptor of a
// directory outside gets into the process, and with --sandbox=none, where it is the only one that
// knows the tree.
//
// Threads: start-up, while there is one. no_new_privs has to be set.
// Errors:  none where the kernel has no Landlock, or has not enough of it: that is reported. A
//          kernel that has it and refuses is an absl::Status; the caller ends the process.
// Source:  spec/security.md s.1 step 11; landlock(7).

#ifndef GOFER_SERVER_LANDLOCK_POLICY_H_
#define GOFER_SERVER_LANDLOCK_POLICY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/unique_fd.h"

namespace gofer::server {

struct LandlockOptions {
  bool wanted = true;
  bool read_only = false;
  // Clients make FIFOs and sockets: FUSE clients, and LISAFS ones with --host_uds=create.
  bool make_special_files = false;
  bool make_devices = false;
  // Device files of the tree are opened, and may be given to a client that uses them with ioctl.
  bool open_devices = false;
  // Files are opened by handle. The kernel may know no directory that such a file is in, and would
  // refuse it: Landlock is not used then.
  bool file_handles = false;
};

struct LandlockState {
  bool in_force = false;
  int abi = 0;          // of the kernel; 0: it has none
  std::string why_not;  // if it is not in force
  // What may be done below the served root, sys::kLandlock* bits, of those that are governed.
  uint64_t allowed = 0;
  uint64_t governed = 0;
  bool tcp_forbidden = false;
  bool outside_signals_and_sockets_forbidden = false;
};

// `root` is the served directory.
absl::StatusOr<LandlockState> LimitFilesTo(BorrowedFd root, const LandlockOptions& options);

// Names of the bits in `files`, as in linux/landlock.h without LANDLOCK_ACCESS_FS_.
std::vector<absl::string_view> LandlockRightNames(uint64_t files);

}  // namespace gofer::server

#endif  // GOFER_SERVER_LANDLOCK_POLICY_H_
