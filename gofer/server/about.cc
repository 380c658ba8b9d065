#include "gofer/server/about.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "gofer/base/json.h"

namespace gofer::server {
namespace {

struct Fact {
  absl::string_view name;
  std::vector<absl::string_view> values;
};

// Only what works: a name appears here with the code behind it.
std::vector<Fact> Facts() {
  return {
      {"version", {kVersion}},
      {"commands",
       {"serve", "restore", "checkpoint", "status", "metrics", "confinement", "purge", "stop",
        "inspect", "capabilities"}},
      {"personalities", {"runsc-gofer", "virtiofsd"}},
      {"ways_in",
       {"lisafs_fd", "lisafs_socket", "vhost_user_fd", "vhost_user_socket", "fuse_fd",
        "fuse_mountpoint"}},
      {"lisafs_clients", {"2022-12", "2024-07", "2026-08"}},
      {"sandbox", {"namespace", "chroot", "none"}},
      {"namespaces", {"mount", "ipc", "net", "uts", "user", "pid"}},
      {"landlock", {"auto", "off"}},
      {"seccomp", {"kill", "trap", "log", "none"}},
  };
}

}  // namespace

std::string CapabilitiesAsText() {
  std::string text;
  for (const Fact& fact : Facts())
    absl::StrAppend(&text, fact.name, ": ", absl::StrJoin(fact.values, ", "), "\n");
  return text;
}

std::string CapabilitiesAsJson() {
  const auto quote = [](std::string* out, absl::string_view value) {
    out->append(JsonQuote(value));
  };
  std::vector<std::string> members;
  for (const Fact& fact : Facts()) {
    const bool single = fact.name == "version";
    const std::string values = absl::StrJoin(fact.values, ",", quote);
    members.push_back(
        absl::StrCat(JsonQuote(fact.name), ":", single ? values : absl::StrCat("[", values, "]")));
  }
  return absl::StrCat("{", absl::StrJoin(members, ","), "}\n");
}

std::string VhostUserCapabilities() {
  return "{\n"
         "  \"type\": \"fs\",\n"
         "  \"features\": [\n"
         "    \"migrate-precopy\",\n"
         "    \"separate-options\"\n"
         "  ]\n"
         "}\n";
}

}  // namespace gofer::server
