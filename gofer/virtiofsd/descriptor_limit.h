// The limit of open descriptors by virtiofsd's rules, and what of it is left for the guest.
//
// Threads: start-up only.
// Errors:  FailedPrecondition with the values: a limit that was asked for and cannot be had, or one
//          that leaves nothing for the guest.
// Source:  spec/virtiofsd-parity.md A10, A11.

#ifndef GOFER_VIRTIOFSD_DESCRIPTOR_LIMIT_H_
#define GOFER_VIRTIOFSD_DESCRIPTOR_LIMIT_H_

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace gofer::virtiofsd {

// What there is to decide by.
struct SystemLimits {
  uint64_t soft;
  uint64_t hard;
  uint64_t most;  // fs.nr_open: beyond it nobody gets anything
};

struct LimitPlan {
  std::optional<uint64_t> set;  // both limits, to this; none: nothing is changed
  // If it cannot be set, the soft limit goes to the hard one, with a warning.
  bool may_fail = false;
};

// `wanted`: 0 changes nothing; absent is 1000000, as far as the system allows.
absl::StatusOr<LimitPlan> PlanDescriptorLimit(std::optional<uint64_t> wanted,
                                              const SystemLimits& limits);

// Does it. The limit in force from then on.
absl::StatusOr<uint64_t> SetDescriptorLimit(std::optional<uint64_t> wanted);

// Fails if a limit leaves no descriptor for the guest's files, and warns if it leaves few.
absl::Status CheckDescriptorLimit(uint64_t limit, uint64_t threads);

}  // namespace gofer::virtiofsd

#endif  // GOFER_VIRTIOFSD_DESCRIPTOR_LIMIT_H_
