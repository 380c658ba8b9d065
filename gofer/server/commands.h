// The commands to a gofer that serves: checkpoint, status, metrics, confinement, purge, stop. What
// it answers goes to stdout, progress to stderr: one line that changes on a terminal, a line a step
// otherwise.
//
// Threads: called once, on the main thread.
// Errors:  absl::Status, with the exit status that the gofer asks for.
// Source:  the design's command line; gofer/control/control.proto.

#ifndef GOFER_SERVER_COMMANDS_H_
#define GOFER_SERVER_COMMANDS_H_

#include "absl/status/status.h"
#include "gofer/server/flags.h"

namespace gofer::server {

// Puts an image into a directory of this process's view, and ends the gofer unless it is to go on.
absl::Status Checkpoint(const CommandFlags& flags);
absl::Status ShowStatus(const CommandFlags& flags);
// Of the same as status, for a monitoring system, see metrics.h.
absl::Status ShowMetrics(const CommandFlags& flags);
absl::Status ShowConfinement(const CommandFlags& flags);
absl::Status Purge(const CommandFlags& flags);
absl::Status Stop(const CommandFlags& flags);

}  // namespace gofer::server

#endif  // GOFER_SERVER_COMMANDS_H_
