// Runs a spec's createContainer hooks, which expect the container's tree finished at root.path and
// the host's tree still around it. Only the newest runsc leaves them to its gofer.
//
// Threads: start-up, single-threaded (fork). Errors: the first hook that fails or takes too long;
//          none runs after it.
// Source:  runtime-spec config.md "POSIX-platform Hooks"; spec/runsc-gofer-launch.md s.5.2.

#ifndef GOFER_RUNSC_HOOKS_H_
#define GOFER_RUNSC_HOOKS_H_

#include <string>

#include "absl/status/status.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

absl::Status RunCreateContainerHooks(const oci::Spec& spec, const std::string& container_id,
                                     const std::string& bundle);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_HOOKS_H_
