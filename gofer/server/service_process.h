// The process that serves, in a pid namespace of its own, and the one that was started, which from
// then on only waits for it.
//
// What is told to the one that was started (SIGTERM, SIGINT, SIGHUP) is passed on, and it ends as
// the other one does. If it is killed, the other one gets SIGTERM.
//
// Threads: start-up only, while there is no other. Errors: absl::Status with the step.
// Source:  spec/virtiofsd-parity.md A23, D1, D13, D17.

#ifndef GOFER_SERVER_SERVICE_PROCESS_H_
#define GOFER_SERVER_SERVICE_PROCESS_H_

#include "absl/status/status.h"

namespace gofer::server {

// Returns in the process that shall serve, which is the first of its pid namespace and has SIGTERM,
// SIGINT and SIGHUP blocked: whoever takes them over finds those that came meanwhile.
absl::Status ContinueAsService();

}  // namespace gofer::server

#endif  // GOFER_SERVER_SERVICE_PROCESS_H_
