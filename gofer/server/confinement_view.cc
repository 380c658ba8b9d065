#include "gofer/server/confinement_view.h"

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "gofer/base/errno.h"
#include "gofer/base/json.h"
#include "gofer/base/unique_fd.h"
#include "gofer/server/confinement_report.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/own_records.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

constexpr size_t kMaxFileBytes = 1 << 20;

std::string FileOrNothing(const std::string& path) {
  const ErrnoOr<std::string> content = sys::ReadFile(path.c_str(), kMaxFileBytes);
  return content.ok() ? *content : "";
}

// What the process is called in the innermost of its pid namespaces; 0 if it cannot be seen.
int64_t InnermostPid(int pid) {
  for (absl::string_view line :
       absl::StrSplit(FileOrNothing(absl::StrCat("/proc/", pid, "/status")), '\n')) {
    if (!absl::ConsumePrefix(&line, "NSpid:")) continue;
    const std::vector<absl::string_view> ids = absl::StrSplit(line, '\t', absl::SkipEmpty());
    int64_t innermost = 0;
    if (!ids.empty() && absl::SimpleAtoi(ids.back(), &innermost)) return innermost;
  }
  return 0;
}

bool IsConfined(int pid) {
  const std::string status = FileOrNothing(absl::StrCat("/proc/", pid, "/status"));
  return ParseThreadStatus(status).no_new_privileges() == "1";
}

// An object or an array, member by member.
class JsonMembers {
 public:
  JsonMembers& Text(absl::string_view name, absl::string_view value) {
    return Raw(name, JsonQuote(value));
  }
  JsonMembers& Raw(absl::string_view name, absl::string_view value) {
    members_.push_back(absl::StrCat(JsonQuote(name), ":", value));
    return *this;
  }
  std::string Object() const { return absl::StrCat("{", absl::StrJoin(members_, ","), "}"); }

 private:
  std::vector<std::string> members_;
};

template <typename Range, typename F>
std::string JsonArray(const Range& range, F&& element) {
  std::vector<std::string> elements;
  for (const auto& one : range) elements.push_back(element(one));
  return absl::StrCat("[", absl::StrJoin(elements, ","), "]");
}

template <typename Namespaces>
std::string NamespacesAsJson(const Namespaces& namespaces) {
  JsonMembers members;
  for (const control::Namespace& one : namespaces) members.Raw(one.kind(), absl::StrCat(one.id()));
  return members.Object();
}

std::string ThreadAsJson(const control::ThreadRecord& thread) {
  JsonMembers members;
  members.Raw("tid", absl::StrCat(thread.tid()))
      .Text("name", thread.name())
      .Text("uid", thread.uid())
      .Text("gid", thread.gid())
      .Text("groups", thread.groups())
      .Text("effective", thread.effective())
      .Text("permitted", thread.permitted())
      .Text("inheritable", thread.inheritable())
      .Text("bounding", thread.bounding())
      .Text("ambient", thread.ambient())
      .Text("no_new_privileges", thread.no_new_privileges())
      .Text("seccomp", thread.seccomp());
  if (thread.namespaces_size() > 0) {
    members.Raw("namespaces", NamespacesAsJson(thread.namespaces()));
  }
  return members.Object();
}

std::string SeccompAsJson(const control::Seccomp& seccomp) {
  JsonMembers members;
  members.Text("mode", seccomp.mode())
      .Text("otherwise", seccomp.otherwise())
      .Raw("calls", JsonArray(seccomp.calls(), [](const control::SystemCall& call) {
             return JsonMembers()
                 .Text("name", call.name())
                 .Text("arguments", call.arguments())
                 .Text("answer", call.answer())
                 .Text("reason", call.reason())
                 .Object();
           }));
  return members.Object();
}

std::string LandlockAsJson(const control::Landlock& landlock) {
  JsonMembers members;
  members.Raw("in_force", landlock.in_force() ? "true" : "false")
      .Raw("abi", absl::StrCat(landlock.abi()))
      .Text("why_not", landlock.why_not())
      .Raw("allowed", JsonArray(landlock.allowed(), JsonQuote))
      .Raw("forbidden", JsonArray(landlock.forbidden(), JsonQuote));
  return members.Object();
}

void AppendThreads(const control::Confinement& confinement, std::string& text) {
  absl::StrAppend(&text, "threads\n");
  for (const control::ThreadRecord& thread : confinement.threads()) {
    absl::StrAppendFormat(&text,
                          "  %-8d %-16s uid %s, gid %s, groups [%s]\n"
                          "           capabilities effective %s, permitted %s, inheritable %s, "
                          "bounding %s, ambient %s\n"
                          "           no_new_privs %s, seccomp %s\n",
                          thread.tid(), thread.name(), thread.uid(), thread.gid(), thread.groups(),
                          thread.effective(), thread.permitted(), thread.inheritable(),
                          thread.bounding(), thread.ambient(), thread.no_new_privileges(),
                          thread.seccomp());
    // Threads are made with those of their process, and cannot leave them.
    for (const control::Namespace& one : thread.namespaces()) {
      for (const control::Namespace& own : confinement.namespaces()) {
        if (one.kind() != own.kind() || one.id() == own.id()) continue;
        absl::StrAppend(&text, "           ANOTHER ", one.kind(), " namespace: ", one.id(), "\n");
      }
    }
  }
}

void AppendSeccomp(const control::Seccomp& seccomp, std::string& text) {
  absl::StrAppend(&text, "seccomp: ", seccomp.mode(), "; any other call: ", seccomp.otherwise(),
                  "\n");
  for (const control::SystemCall& call : seccomp.calls()) {
    absl::StrAppendFormat(
        &text, "  %-18s %s%s%s\n", call.name(),
        call.answer() == "allow" ? "" : absl::StrCat(call.answer(), ": "), call.reason(),
        call.arguments().empty() ? "" : absl::StrCat(" (", call.arguments(), ")"));
  }
}

void AppendLandlock(const control::Landlock& landlock, std::string& text) {
  if (!landlock.in_force()) {
    absl::StrAppend(&text, "landlock: not in force: ", landlock.why_not(), "\n");
    return;
  }
  absl::StrAppend(&text, "landlock: in force, ABI ", landlock.abi(),
                  "\n  below the served directory: ", absl::StrJoin(landlock.allowed(), ", "),
                  "\n  nowhere: ", absl::StrJoin(landlock.forbidden(), ", "), "\n");
}

}  // namespace

int ServingProcess(int peer, const control::Confinement& confinement) {
  if (peer <= 0) return 0;
  if (InnermostPid(peer) == confinement.pid()) return peer;
  const std::string children =
      FileOrNothing(absl::StrCat("/proc/", peer, "/task/", peer, "/children"));
  for (const absl::string_view word : absl::StrSplit(children, ' ', absl::SkipEmpty())) {
    int child = 0;
    if (absl::SimpleAtoi(word, &child) && InnermostPid(child) == confinement.pid() &&
        IsConfined(child)) {
      return child;
    }
  }
  return 0;
}

void AddThreadsOf(int pid, control::Confinement& confinement) {
  std::vector<control::ThreadRecord> threads;
  std::error_code error;
  const std::string tasks = absl::StrCat("/proc/", pid, "/task");
  for (const auto& task : std::filesystem::directory_iterator(tasks, error)) {
    const std::string path = task.path().string();
    const std::string status = FileOrNothing(path + "/status");
    if (status.empty()) continue;  // it has ended
    control::ThreadRecord record = ParseThreadStatus(status);
    if (const ErrnoOr<UniqueFd> directory = sys::OpenLocation(path.c_str()); directory.ok()) {
      for (const sys::NamespaceId& one : sys::NamespacesOf(*directory)) {
        control::Namespace& added = *record.add_namespaces();
        added.set_kind(one.kind);
        added.set_id(one.id);
      }
    }
    threads.push_back(std::move(record));
  }
  if (threads.empty()) return;
  confinement.clear_threads();
  for (control::ThreadRecord& record : threads) *confinement.add_threads() = std::move(record);
}

std::string ConfinementAsText(const control::Confinement& confinement) {
  std::string text = absl::StrCat("sandbox: ", confinement.sandbox(), "\nnamespaces\n");
  for (const control::Namespace& one : confinement.namespaces()) {
    absl::StrAppendFormat(&text, "  %-8s %d\n", one.kind(), one.id());
  }
  absl::StrAppend(&text, "capabilities\n");
  for (const control::Capability& one : confinement.capabilities()) {
    absl::StrAppendFormat(&text, "  %-18s %s\n", one.name(), one.reason());
  }
  AppendLandlock(confinement.landlock(), text);
  absl::StrAppend(&text, "mounts\n");
  for (const std::string& mount : confinement.mounts()) absl::StrAppend(&text, "  ", mount, "\n");
  absl::StrAppend(&text, "limits\n");
  for (const control::Limit& limit : confinement.limits()) {
    absl::StrAppendFormat(&text, "  %-26s %s soft, %s hard\n", limit.name(), limit.soft(),
                          limit.hard());
  }
  AppendThreads(confinement, text);
  AppendSeccomp(confinement.seccomp(), text);
  return text;
}

std::string ConfinementAsJson(const control::Confinement& confinement) {
  JsonMembers members;
  members.Raw("pid", absl::StrCat(confinement.pid()))
      .Text("sandbox", confinement.sandbox())
      .Raw("namespaces", NamespacesAsJson(confinement.namespaces()))
      .Text("uid_map", confinement.uid_map())
      .Text("gid_map", confinement.gid_map())
      .Raw(
          "capabilities",
          JsonArray(
              confinement.capabilities(),
              [](const control::Capability& one) {
                return JsonMembers().Text("name", one.name()).Text("reason", one.reason()).Object();
              }))
      .Raw("landlock", LandlockAsJson(confinement.landlock()))
      .Raw("mounts", JsonArray(confinement.mounts(), JsonQuote))
      .Raw("limits", JsonArray(confinement.limits(),
                               [](const control::Limit& limit) {
                                 return JsonMembers()
                                     .Text("name", limit.name())
                                     .Text("soft", limit.soft())
                                     .Text("hard", limit.hard())
                                     .Object();
                               }))
      .Raw("threads", JsonArray(confinement.threads(), ThreadAsJson))
      .Raw("seccomp", SeccompAsJson(confinement.seccomp()));
  return absl::StrCat(members.Object(), "\n");
}

}  // namespace gofer::server
