#include "gofer/server/confinement_report.h"

#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "gofer/base/errno.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

void Describe(const SeccompOptions& options, control::Seccomp& seccomp) {
  seccomp.set_mode(std::string(SeccompModeName(options.mode)));
  seccomp.set_otherwise(std::string(AnswerToOtherCalls(options.mode)));
  for (AllowedCall& allowed : AllowedCalls(options)) {
    control::SystemCall& call = *seccomp.add_calls();
    call.set_name(std::move(allowed.name));
    call.set_arguments(std::move(allowed.arguments));
    call.set_answer(std::move(allowed.answer));
    call.set_reason(std::move(allowed.reason));
  }
}

void Describe(const LandlockState& state, control::Landlock& landlock) {
  landlock.set_in_force(state.in_force);
  landlock.set_abi(state.abi);
  landlock.set_why_not(state.why_not);
  if (!state.in_force) return;
  for (const absl::string_view right : LandlockRightNames(state.allowed)) {
    landlock.add_allowed(std::string(right));
  }
  for (const absl::string_view right : LandlockRightNames(state.governed & ~state.allowed)) {
    landlock.add_forbidden(std::string(right));
  }
  if (state.tcp_forbidden) landlock.add_forbidden("TCP");
  if (state.outside_signals_and_sockets_forbidden) {
    landlock.add_forbidden("ABSTRACT_UNIX_SOCKET");
    landlock.add_forbidden("SIGNAL");
  }
}

// Those that are there: added ones too, and without root not all that are needed.
void DescribeCapabilities(absl::string_view permitted, control::Confinement& confinement) {
  uint64_t held = 0;
  if (!absl::SimpleHexAtoi(permitted, &held)) return;
  for (int number = 0; number < 64; ++number) {
    if ((held >> number & 1) == 0) continue;
    control::Capability& capability = *confinement.add_capabilities();
    capability.set_name(CapabilityName(number));
    capability.set_reason(std::string(CapabilityReason(number)));
  }
}

// Three columns of fixed width, and names with spaces.
void ParseLimits(absl::string_view text, control::Confinement& confinement) {
  constexpr size_t kName = 26, kValue = 21;
  bool heading = true;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    if (std::exchange(heading, false) || line.size() < kName + kValue) continue;
    control::Limit& limit = *confinement.add_limits();
    const auto column = [&](size_t begin, size_t size) {
      return std::string(absl::StripAsciiWhitespace(line.substr(begin, size)));
    };
    limit.set_name(column(0, kName));
    limit.set_soft(column(kName, kValue));
    limit.set_hard(column(kName + kValue, kValue));
  }
}

}  // namespace

control::ThreadRecord ParseThreadStatus(absl::string_view status) {
  control::ThreadRecord record;
  const std::pair<absl::string_view, std::string*> fields[] = {
      {"Name:", record.mutable_name()},
      {"Uid:", record.mutable_uid()},
      {"Gid:", record.mutable_gid()},
      {"Groups:", record.mutable_groups()},
      {"CapEff:", record.mutable_effective()},
      {"CapPrm:", record.mutable_permitted()},
      {"CapInh:", record.mutable_inheritable()},
      {"CapBnd:", record.mutable_bounding()},
      {"CapAmb:", record.mutable_ambient()},
      {"NoNewPrivs:", record.mutable_no_new_privileges()},
      {"Seccomp:", record.mutable_seccomp()},
  };
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    int64_t tid = 0;
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "Pid:") && absl::SimpleAtoi(rest, &tid)) record.set_tid(tid);
    for (const auto& [name, value] : fields) {
      if (!absl::ConsumePrefix(&line, name)) continue;
      // Ids are four numbers with tabs between them.
      const std::vector<absl::string_view> words =
          absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty());
      for (const absl::string_view word : words) {
        if (!value->empty()) value->push_back(' ');
        value->append(word.data(), word.size());
      }
      break;
    }
  }
  return record;
}

ConfinementReport::ConfinementReport(absl::string_view sandbox, const SeccompOptions& seccomp,
                                     Confined confined)
    : records_(std::move(confined.records)) {
  at_start_.set_pid(sys::ProcessId());
  at_start_.set_sandbox(std::string(sandbox));
  for (const sys::NamespaceId& one : records_.namespaces()) {
    control::Namespace& added = *at_start_.add_namespaces();
    added.set_kind(one.kind);
    added.set_id(one.id);
  }
  at_start_.set_uid_map(records_.uid_map());
  at_start_.set_gid_map(records_.gid_map());
  Describe(seccomp, *at_start_.mutable_seccomp());
  Describe(confined.landlock, *at_start_.mutable_landlock());
}

absl::StatusOr<control::Confinement> ConfinementReport::Now() const {
  const absl::MutexLock lock(&mu_);
  const ErrnoOr<std::string> status = records_.Status();
  const ErrnoOr<std::string> limits = records_.Limits();
  const ErrnoOr<std::string> mounts = records_.Mounts();
  if (!status.ok()) return ToStatus(status.error(), "read /proc/self/status");
  if (!limits.ok()) return ToStatus(limits.error(), "read /proc/self/limits");
  if (!mounts.ok()) return ToStatus(mounts.error(), "read /proc/self/mountinfo");
  control::Confinement now = at_start_;
  *now.add_threads() = ParseThreadStatus(*status);
  DescribeCapabilities(now.threads(0).permitted(), now);
  ParseLimits(*limits, now);
  for (const absl::string_view mount : absl::StrSplit(*mounts, '\n', absl::SkipEmpty())) {
    now.add_mounts(std::string(mount));
  }
  return now;
}

std::optional<uint64_t> ConfinementReport::Threads() const {
  const absl::MutexLock lock(&mu_);
  const ErrnoOr<std::string> status = records_.Status();
  if (!status.ok()) return std::nullopt;
  for (absl::string_view line : absl::StrSplit(*status, '\n')) {
    uint64_t threads;
    if (absl::ConsumePrefix(&line, "Threads:") && absl::SimpleAtoi(line, &threads)) return threads;
  }
  return std::nullopt;
}

}  // namespace gofer::server
