#include "gofer/server/seccomp_filter.h"

#include <fcntl.h>
#include <seccomp.h>
#include <sys/syscall.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/server/seccomp_rules.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, ReleaseFilter>;

// libseccomp answers 0 or a negative errno.
absl::Status Check(int result, absl::string_view what) {
  if (result == 0) return absl::OkStatus();
  return ToStatus(Errno(-result), absl::StrCat("seccomp: ", what));
}

uint32_t DefaultAction(SeccompMode mode) {
  switch (mode) {
    case SeccompMode::kTrap:
      return SCMP_ACT_TRAP;
    case SeccompMode::kLog:
      return SCMP_ACT_LOG;
    case SeccompMode::kKill:
    case SeccompMode::kNone:
      break;
  }
  return SCMP_ACT_KILL_PROCESS;
}

bool Wanted(RuleSet set, const SeccompOptions& options) {
  switch (set) {
    case RuleSet::kServe:
      return true;
    case RuleSet::kListen:
      return options.listen;
    case RuleSet::kHostSocketsOpen:
      return options.host_sockets_open;
    case RuleSet::kHostSocketsMake:
      return options.host_sockets_make;
    case RuleSet::kHostFifos:
      return options.host_fifos;
    case RuleSet::kFuse:
      return options.fuse;
    case RuleSet::kFuseIdentity:
      return options.fuse_identity;
    case RuleSet::kFuseDevices:
      return options.fuse_devices;
    case RuleSet::kVhostUser:
      return options.vhost_user;
    case RuleSet::kControl:
      return options.control;
    case RuleSet::kFileHandles:
      return options.file_handles;
  }
  return false;
}

absl::Status AddRule(const Filter& filter, const SeccompRule& rule) {
  std::vector<struct scmp_arg_cmp> arguments;
  for (const Condition& condition : rule.conditions) {
    if (condition.mask == 0) continue;
    arguments.push_back({.arg = condition.argument,
                         .op = SCMP_CMP_MASKED_EQ,
                         .datum_a = condition.mask,
                         .datum_b = condition.value});
  }
  const int result =
      seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, rule.number,
                             static_cast<unsigned>(arguments.size()), arguments.data());
  return Check(result, absl::StrCat("rule for ", rule.name));
}

std::string Describe(const Condition& condition) {
  const std::string argument = absl::StrCat("arg", condition.argument);
  if (condition.mask == kDescriptorMask && condition.value == 0) {
    return absl::StrCat(argument, " is a descriptor");
  }
  if (condition.value == 0 && condition.mask != 0xffffffff) {
    return absl::StrFormat("%s has none of %#x", argument, condition.mask);
  }
  if (condition.mask == 0xffffffff || condition.mask == ~uint64_t{0}) {
    return absl::StrFormat("%s is %#x", argument, condition.value);
  }
  return absl::StrFormat("%s & %#x is %#x", argument, condition.mask, condition.value);
}

std::string Describe(const SeccompRule& rule) {
  std::vector<std::string> conditions;
  for (const Condition& condition : rule.conditions) {
    if (condition.mask != 0) conditions.push_back(Describe(condition));
  }
  return absl::StrJoin(conditions, ", ");
}

absl::string_view WhenOf(RuleSet set) {
  switch (set) {
    case RuleSet::kServe:
      return "always";
    case RuleSet::kListen:
      return "sockets to listen on";
    case RuleSet::kHostSocketsOpen:
      return "`--host_uds=open`";
    case RuleSet::kHostSocketsMake:
      return "`--host_uds=create`";
    case RuleSet::kHostFifos:
      return "`--host_fifo=open`";
    case RuleSet::kFuse:
      return "FUSE";
    case RuleSet::kFuseIdentity:
      return "`--creds=switch`";
    case RuleSet::kFuseDevices:
      return "`--make_devices`";
    case RuleSet::kVhostUser:
      return "vhost-user";
    case RuleSet::kControl:
      return "`--control_socket`";
    case RuleSet::kFileHandles:
      return "`--inode_file_handles`";
  }
  return "?";
}

std::vector<AllowedCall> Describe(absl::FunctionRef<bool(RuleSet)> wanted) {
  std::vector<AllowedCall> calls;
  for (const SeccompRule& rule : SeccompRules()) {
    if (!wanted(rule.set)) continue;
    calls.push_back({.name = rule.name,
                     .arguments = Describe(rule),
                     .answer = "allow",
                     .reason = rule.reason,
                     .when = std::string(WhenOf(rule.set))});
  }
  const std::string always(WhenOf(RuleSet::kServe));
  calls.push_back({.name = "tgkill",
                   .arguments = "arg0 is the process itself",
                   .answer = "allow",
                   .reason = "abort; end a wait of a thread",
                   .when = always});
  calls.push_back({.name = "openat",
                   .arguments = "arg0 is AT_FDCWD",
                   .answer = "ENOENT",
                   .reason = "libraries that look for files find none",
                   .when = always});
  calls.push_back({.name = "clone3",
                   .arguments = "",
                   .answer = "ENOSYS",
                   .reason = "its flags are in memory; the C library uses clone then",
                   .when = always});
  return calls;
}

}  // namespace

absl::StatusOr<SeccompMode> ParseSeccompMode(absl::string_view text) {
  for (const SeccompMode mode :
       {SeccompMode::kKill, SeccompMode::kTrap, SeccompMode::kLog, SeccompMode::kNone}) {
    if (text == SeccompModeName(mode)) return mode;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is not one of kill, trap, log, none"));
}

absl::string_view SeccompModeName(SeccompMode mode) {
  switch (mode) {
    case SeccompMode::kKill:
      return "kill";
    case SeccompMode::kTrap:
      return "trap";
    case SeccompMode::kLog:
      return "log";
    case SeccompMode::kNone:
      return "none";
  }
  return "?";
}

absl::Status InstallSeccompFilter(const SeccompOptions& options) {
  if (options.mode == SeccompMode::kNone) return absl::OkStatus();
  if (options.mode == SeccompMode::kTrap) {
    if (const ErrnoOr<void> set = sys::ExitOnForbiddenCall(); !set.ok()) {
      return ToStatus(set.error(), "sigaction(SIGSYS)");
    }
  }
  const Filter filter(seccomp_init(DefaultAction(options.mode)));
  if (filter == nullptr) return absl::InternalError("seccomp: no filter could be made");
  // A 32-bit or x32 call has other numbers: it is not the call that the table means.
  RETURN_IF_ERROR(
      Check(seccomp_attr_set(filter.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS),
            "architecture"));
  RETURN_IF_ERROR(Check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1), "TSYNC"));
  // A binary tree over the numbers instead of a list: every call passes through the filter.
  RETURN_IF_ERROR(Check(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2), "tree"));
  for (const SeccompRule& rule : SeccompRules()) {
    if (Wanted(rule.set, options)) RETURN_IF_ERROR(AddRule(filter, rule));
  }
  // What follows is in AllowedCalls, too.
  // A signal only to ourselves (abort), not to what else lives in the pid namespace.
  const struct scmp_arg_cmp self = {.arg = 0,
                                    .op = SCMP_CMP_MASKED_EQ,
                                    .datum_a = 0xffffffff,
                                    .datum_b = static_cast<scmp_datum_t>(sys::ProcessId())};
  RETURN_IF_ERROR(Check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, SYS_tgkill, 1, &self),
                        "rule for tgkill"));
  // Libraries ask /proc and /sys on first use of this and that. They are told the truth about a
  // confined process, that there is no such file; ending it would only punish the first lock that
  // somebody waits for.
  const struct scmp_arg_cmp working_directory = {.arg = 0,
                                                 .op = SCMP_CMP_MASKED_EQ,
                                                 .datum_a = 0xffffffff,
                                                 .datum_b = static_cast<uint32_t>(AT_FDCWD)};
  RETURN_IF_ERROR(Check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOENT), SYS_openat, 1,
                                               &working_directory),
                        "openat"));
  // Its flags are in memory, where no filter can look. The C library falls back to clone.
  RETURN_IF_ERROR(
      Check(seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOSYS), SYS_clone3, 0, nullptr),
            "clone3"));
  return Check(seccomp_load(filter.get()), "load");
}

std::vector<AllowedCall> AllowedCalls(const SeccompOptions& options) {
  if (options.mode == SeccompMode::kNone) return {};
  return Describe([&](RuleSet set) { return Wanted(set, options); });
}

std::vector<AllowedCall> AllowedCallsOfAll() {
  return Describe([](RuleSet) { return true; });
}

absl::string_view AnswerToOtherCalls(SeccompMode mode) {
  switch (mode) {
    case SeccompMode::kKill:
      return "the process is killed";
    case SeccompMode::kTrap:
      return "the process exits with status 159";
    case SeccompMode::kLog:
      return "allowed, and noted in the audit log";
    case SeccompMode::kNone:
      return "allowed";
  }
  return "?";
}

}  // namespace gofer::server
