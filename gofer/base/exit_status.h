// The exit status that an error asks for, where its code alone does not tell.
//
// Threads: safe. Source: the design's command line.

#ifndef GOFER_BASE_EXIT_STATUS_H_
#define GOFER_BASE_EXIT_STATUS_H_

#include "absl/status/status.h"

namespace gofer {

inline constexpr int kExitFailure = 1;
// The command line has to change.
inline constexpr int kExitUsage = 2;
// A checkpoint or a restore was refused: the state does not match.
inline constexpr int kExitMismatch = 3;

// The same error, which ends a command with `exit_status`, not 0.
absl::Status WithExitStatus(absl::Status error, int exit_status);
// 0 if it is OK; what WithExitStatus said; kExitUsage for kInvalidArgument; else kExitFailure.
int ExitStatusOf(const absl::Status& status);

}  // namespace gofer

#endif  // GOFER_BASE_EXIT_STATUS_H_
