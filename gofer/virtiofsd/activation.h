// The socket that a service manager hands down (sd_listen_fds(3)), when the command line names
// none.
//
// Threads: start-up only. Errors: InvalidArgument when there are several.
// Source:  spec/virtiofsd-parity.md A7; sd_listen_fds(3).

#ifndef GOFER_VIRTIOFSD_ACTIVATION_H_
#define GOFER_VIRTIOFSD_ACTIVATION_H_

#include <optional>

#include "absl/status/statusor.h"

namespace gofer::virtiofsd {

// From LISTEN_PID and LISTEN_FDS; nothing if they are not there or are for another process.
absl::StatusOr<std::optional<int>> ActivationSocket(const char* listen_pid, const char* listen_fds,
                                                    int own_pid);

}  // namespace gofer::virtiofsd

#endif  // GOFER_VIRTIOFSD_ACTIVATION_H_
