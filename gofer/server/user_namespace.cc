#include "gofer/server/user_namespace.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/child.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"
#include "gofer/sys/program.h"
#include "gofer/sys/socket.h"
#include "gofer/sys/user_namespace.h"

namespace gofer::server {
namespace {

bool HasRoot(const std::vector<IdRange>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [](const IdRange& range) { return range.inside == 0 && range.count > 0; });
}

// "" if it is nowhere. Without a PATH, where such programs are.
std::string FindProgram(absl::string_view name) {
  const char* const path = getenv("PATH");
  const absl::string_view places = path != nullptr ? path : "/usr/bin:/bin:/usr/sbin:/sbin";
  for (const absl::string_view place : absl::StrSplit(places, ':', absl::SkipEmpty())) {
    std::string file = absl::StrCat(place, "/", name);
    if (sys::OpenLocation(file.c_str()).ok()) return file;
  }
  return "";
}

bool RunProgram(const std::string& path, int process, const std::vector<IdRange>& ranges) {
  sys::Program program = {.path = path, .arguments = {path, absl::StrCat(process)}};
  for (const IdRange& range : ranges) {
    for (const uint32_t number : {range.inside, range.outside, range.count}) {
      program.arguments.push_back(absl::StrCat(number));
    }
  }
  // What it has to say about the ranges goes to stderr.
  const ErrnoOr<int> status = sys::RunProgram(program);
  return status.ok() && *status == 0;
}

}  // namespace

absl::StatusOr<IdRange> ParseIdRange(absl::string_view text) {
  const auto error = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("range \"", text, "\": ", why));
  };
  if (text.size() < 2 || text.front() != text.back() || absl::ascii_isalnum(text.front())) {
    return error("does not begin and end with one delimiter, as in :0:100000:65536:");
  }
  const std::vector<absl::string_view> fields =
      absl::StrSplit(text.substr(1, text.size() - 2), text.front());
  if (fields.size() != 3) {
    return error(absl::StrCat("has ", fields.size(), " numbers, not 3 (inside, outside, count)"));
  }
  uint32_t numbers[3];
  for (size_t i = 0; i < 3; ++i) {
    const bool digits =
        !fields[i].empty() && std::all_of(fields[i].begin(), fields[i].end(), absl::ascii_isdigit);
    if (!digits || !absl::SimpleAtoi(fields[i], &numbers[i])) {
      return error(absl::StrCat("\"", fields[i], "\" is not a number from 0 to 4294967295"));
    }
  }
  return IdRange{.inside = numbers[0], .outside = numbers[1], .count = numbers[2]};
}

absl::StatusOr<UserNamespace::Map> UserNamespace::PrepareMap(std::span<const std::string> texts,
                                                             uint32_t own,
                                                             absl::string_view program) {
  Map map;
  for (const std::string& text : texts) {
    ASSIGN_OR_RETURN(const IdRange range, ParseIdRange(text));
    map.ranges.push_back(range);
  }
  if (map.ranges.empty()) map.ranges = {{.inside = own, .outside = own, .count = 1}};
  // Anybody may map oneself.
  if (map.ranges.size() == 1 && map.ranges[0].outside == own && map.ranges[0].count == 1) {
    return map;
  }
  map.program = FindProgram(program);
  if (!map.program.empty()) return map;
  return absl::NotFoundError(absl::StrCat(
      program, ": is in no directory of PATH; it is needed to map other ids than one's own"));
}

absl::StatusOr<UserNamespace> UserNamespace::Prepare(std::span<const std::string> uid_map,
                                                     std::span<const std::string> gid_map) {
  const sys::UserAndGroup own = sys::EffectiveIds();
  UserNamespace plan;
  ASSIGN_OR_RETURN(plan.users_, PrepareMap(uid_map, own.uid, "newuidmap"));
  ASSIGN_OR_RETURN(plan.groups_, PrepareMap(gid_map, own.gid, "newgidmap"));
  return plan;
}

bool UserNamespace::RunPrograms(const UserNamespace& plan, int process) {
  const Map& users = plan.users_;
  const Map& groups = plan.groups_;
  return (users.program.empty() || RunProgram(users.program, process, users.ranges)) &&
         (groups.program.empty() || RunProgram(groups.program, process, groups.ranges));
}

absl::Status UserNamespace::Enter() const {
  // The programs have to run outside, so a child stays there until it is needed.
  ErrnoOr<std::pair<UniqueFd, UniqueFd>> ends = sys::SeqpacketPair();
  if (!ends.ok()) return ToStatus(ends.error(), "socketpair");
  UniqueFd ours = std::move(ends->first), theirs = std::move(ends->second);
  const int process = sys::ProcessId();
  const ErrnoOr<int> helper = sys::Fork(SIGKILL);
  if (!helper.ok()) return ToStatus(helper.error(), "fork");
  if (*helper == 0) {
    ours.Reset();
    const ErrnoOr<size_t> asked = sys::ReadOneByte(theirs);
    sys::ExitNow(asked.ok() && *asked == 1 && RunPrograms(*this, process) ? 0 : 1);
  }
  theirs.Reset();
  absl::Status entered =
      ToStatus(sys::Unshare(CLONE_NEWUSER),
               "--sandbox=namespace: a user namespace; run as root, or give --sandbox=none");
  if (entered.ok()) (void)sys::WriteAll(ours, "\n").ok();
  ours.Reset();
  const ErrnoOr<sys::ChildStatus> status = sys::WaitForChild(*helper);
  RETURN_IF_ERROR(entered);
  if (!status.ok() || status->status != 0 || status->signal != 0) {
    return absl::FailedPreconditionError(
        "--uid-map, --gid-map: newuidmap or newgidmap refused; its own words are above, and "
        "/etc/subuid and /etc/subgid say what it allows");
  }
  const IdRange& user = users_.ranges[0];
  const IdRange& group = groups_.ranges[0];
  if (groups_.program.empty()) {
    RETURN_IF_ERROR(ToStatus(sys::MapOwnGroup(group.inside, group.outside), "/proc/self/gid_map"));
  }
  if (users_.program.empty()) {
    RETURN_IF_ERROR(ToStatus(sys::MapOwnUser(user.inside, user.outside), "/proc/self/uid_map"));
  }
  if (!HasRoot(users_.ranges) || !HasRoot(groups_.ranges)) return absl::OkStatus();
  return ToStatus(sys::SetIds(0, 0), "become root of the user namespace");
}

}  // namespace gofer::server
