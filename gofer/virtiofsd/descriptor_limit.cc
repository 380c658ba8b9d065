#include "gofer/virtiofsd/descriptor_limit.h"

#include <sys/resource.h>

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/process.h"

namespace gofer::virtiofsd {
namespace {

constexpr uint64_t kDefault = 1'000'000;
// A descriptor for each slot of guest memory, and some for rings, events and the process itself.
constexpr uint64_t kMemorySlots = 509;
constexpr uint64_t kOwn = 100;
constexpr uint64_t kFew = 128;

absl::StatusOr<uint64_t> ReadMost() {
  constexpr char kFile[] = "/proc/sys/fs/nr_open";
  const ErrnoOr<std::string> text = sys::ReadFile(kFile, 64);
  if (!text.ok()) return ToStatus(text.error(), kFile);
  uint64_t most;
  if (absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &most)) return most;
  return absl::FailedPreconditionError(absl::StrCat(kFile, ": \"", *text, "\" is no number"));
}

absl::StatusOr<SystemLimits> ReadLimits() {
  const ErrnoOr<sys::Limit> limit = sys::GetLimit(RLIMIT_NOFILE);
  if (!limit.ok()) return ToStatus(limit.error(), "RLIMIT_NOFILE");
  ASSIGN_OR_RETURN(const uint64_t most, ReadMost());
  return SystemLimits{.soft = limit->soft, .hard = limit->hard, .most = most};
}

}  // namespace

absl::StatusOr<LimitPlan> PlanDescriptorLimit(std::optional<uint64_t> wanted,
                                              const SystemLimits& limits) {
  if (wanted.has_value()) {
    if (*wanted == 0) return LimitPlan{};
    if (*wanted <= limits.most) return LimitPlan{.set = wanted, .may_fail = false};
    return absl::FailedPreconditionError(absl::StrCat(
        "--rlimit-nofile=", *wanted, ": is more than fs.nr_open, which is ", limits.most));
  }
  if (limits.soft >= kDefault) return LimitPlan{};
  return LimitPlan{.set = std::min(kDefault, limits.most), .may_fail = true};
}

absl::StatusOr<uint64_t> SetDescriptorLimit(std::optional<uint64_t> wanted) {
  ASSIGN_OR_RETURN(const SystemLimits limits, ReadLimits());
  ASSIGN_OR_RETURN(const LimitPlan plan, PlanDescriptorLimit(wanted, limits));
  if (!plan.set.has_value()) return limits.soft;
  const ErrnoOr<void> set = sys::SetLimit(RLIMIT_NOFILE, {.soft = *plan.set, .hard = *plan.set});
  if (set.ok()) return *plan.set;
  if (!plan.may_fail) {
    return ToStatus(set.error(), absl::StrCat("--rlimit-nofile=", *plan.set,
                                              ", with a hard limit of ", limits.hard));
  }
  LOG(WARNING) << "limit of open descriptors: " << *plan.set
               << " cannot be had; it is the hard limit, " << limits.hard;
  const ErrnoOr<void> raised =
      sys::SetLimit(RLIMIT_NOFILE, {.soft = limits.hard, .hard = limits.hard});
  if (!raised.ok()) return ToStatus(raised.error(), "raise RLIMIT_NOFILE to the hard limit");
  return limits.hard;
}

absl::Status CheckDescriptorLimit(uint64_t limit, uint64_t threads) {
  const uint64_t own = kMemorySlots + kOwn + std::max<uint64_t>(threads, 1);
  if (limit < own) {
    return absl::FailedPreconditionError(absl::StrCat("the limit of open descriptors is ", limit,
                                                      ", and has to be ", own, " at least"));
  }
  if (limit - own < kFew) {
    LOG(WARNING) << "the limit of open descriptors, " << limit << ", leaves only " << limit - own
                 << " for the guest";
  }
  return absl::OkStatus();
}

}  // namespace gofer::virtiofsd
