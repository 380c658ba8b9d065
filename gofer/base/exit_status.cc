#include "gofer/base/exit_status.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace gofer {
namespace {

constexpr char kPayload[] = "gofer/exit_status";

}  // namespace

absl::Status WithExitStatus(absl::Status error, int exit_status) {
  error.SetPayload(kPayload, absl::Cord(absl::StrCat(exit_status)));
  return error;
}

int ExitStatusOf(const absl::Status& status) {
  if (status.ok()) return 0;
  if (const std::optional<absl::Cord> payload = status.GetPayload(kPayload); payload.has_value()) {
    int exit_status = 0;
    const bool parsed = absl::SimpleAtoi(std::string(*payload), &exit_status);
    return parsed && exit_status != 0 ? exit_status : kExitFailure;
  }
  return absl::IsInvalidArgument(status) ? kExitUsage : kExitFailure;
}

}  // namespace gofer
