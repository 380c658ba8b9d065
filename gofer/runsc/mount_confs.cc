#include "gofer/runsc/mount_confs.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gofer/base/status_macros.h"

namespace gofer::runsc {
namespace {

absl::StatusOr<MountConf> ParseOne(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  const auto error = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("mount conf \"", text, "\": ", why));
  };
  if (parts.size() < 2 || parts.size() > 3) return error("is not lower:upper[:size=N]");
  if (parts.size() == 3 && !absl::StartsWith(parts[2], "size="))
    return error("its third part is not size=N");

  MountConf conf;
  if (parts[0] == "lisafs") {
    conf.lower = MountConf::Lower::kLisafs;
  } else if (parts[0] == "erofs") {
    conf.lower = MountConf::Lower::kErofs;
  } else if (parts[0] != "none") {
    return error("lower is not one of lisafs, erofs, none");
  }
  if (parts[1] == "memory" || parts[1] == "self" || parts[1] == "anon") {
    conf.overlaid = true;
  } else if (parts[1] != "none") {
    return error("upper is not one of memory, self, anon, none");
  }
  if (conf.lower == MountConf::Lower::kNone && !conf.overlaid)
    return error("has neither a lower nor an upper part");
  return conf;
}

}  // namespace

absl::StatusOr<std::vector<MountConf>> ParseMountConfs(absl::string_view text) {
  std::vector<MountConf> confs;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(const MountConf conf, ParseOne(part));
    confs.push_back(conf);
  }
  return confs;
}

}  // namespace gofer::runsc
