#include "gofer/server/pid_file.h"

#include "absl/strings/str_cat.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/lock_file.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

constexpr uint32_t kMode = 0600;

ErrnoOr<UniqueFd> Write(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  ASSIGN_OR_RETURN(const Name name,
                   Name::Parse(slash == std::string::npos ? path : path.substr(slash + 1)));
  ASSIGN_OR_RETURN(const UniqueFd dir, sys::OpenLocation(parent.c_str()));
  ASSIGN_OR_RETURN(UniqueFd file, sys::OpenLocked(dir, name, kMode));
  // The number of an earlier process may have been longer.
  RETURN_IF_ERROR(sys::FTruncate(file, 0));
  RETURN_IF_ERROR(sys::WriteAll(file, absl::StrCat(sys::ProcessId(), "\n")));
  return file;
}

}  // namespace

absl::StatusOr<UniqueFd> WritePidFile(const std::string& path) {
  ErrnoOr<UniqueFd> file = Write(path);
  if (file.ok()) return *std::move(file);
  const std::string what = absl::StrCat("pid file ", path);
  if (file.error() == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": another process holds it and serves already"));
  }
  if (file.error() == EPERM) {
    return absl::FailedPreconditionError(
        absl::StrCat(what, ": is there and not a plain file of ours; remove it"));
  }
  return ToStatus(file.error(), what);
}

}  // namespace gofer::server
