// Asks runsc to open the source of a mount that the gofer itself may not open, over --rpc-fd.
//
// The protocol is gVisor's urpc: one JSON object each way, unframed, with the descriptor on the
// reply's first byte.
//
// Errors:  what runsc answers, or what is wrong with its answer. Threads: one request at a time.
// Source:  gVisor pkg/urpc; runsc container.goferToHostRPC.OpenMount.

#ifndef GOFER_RUNSC_MOUNT_OPENER_H_
#define GOFER_RUNSC_MOUNT_OPENER_H_

#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

// The mount's source; for one with id mappings a detached tree that has them applied.
absl::StatusOr<UniqueFd> OpenMountByRpc(BorrowedFd rpc, const oci::Mount& mount);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_MOUNT_OPENER_H_
