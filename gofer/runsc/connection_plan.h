// Which descriptor serves what: the io fds of the command line matched with the mounts of the spec.
//
// Errors:  InvalidArgument when their numbers do not fit. Threads: values.
// Source:  spec/runsc-gofer-launch.md s.4.

#ifndef GOFER_RUNSC_CONNECTION_PLAN_H_
#define GOFER_RUNSC_CONNECTION_PLAN_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/runsc/command_line.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

struct PlannedRoot {
  int io_fd;
  bool read_only;
};

struct PlannedMount {
  int spec_index;  // in Spec.mounts
  int io_fd;
  bool read_only;
};

struct ConnectionPlan {
  std::optional<PlannedRoot> root;   // none: the sandbox has its root from elsewhere
  std::vector<PlannedMount> mounts;  // in the order of the spec
};

absl::StatusOr<ConnectionPlan> PlanConnections(const CommandLine& line, const oci::Spec& spec);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_CONNECTION_PLAN_H_
