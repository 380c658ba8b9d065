#include "gofer/sys/user_namespace.h"

#include <fcntl.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/call.h"
#include "gofer/sys/process.h"

namespace gofer::sys {
namespace {

using internal::Call;

// One write: the kernel takes such a file whole or not at all.
ErrnoOr<void> WriteFile(const char* path, absl::string_view text) {
  const UniqueFd file(Call("open", [&] { return ::open(path, O_WRONLY | O_CLOEXEC); }));
  if (!file.valid()) return Errno::Last();
  return WriteAll(file, text);
}

}  // namespace

UserAndGroup EffectiveIds() { return {.uid = ::geteuid(), .gid = ::getegid()}; }

ErrnoOr<void> MapOwnUser(uint32_t inside, uint32_t outside) {
  return WriteFile("/proc/self/uid_map", absl::StrCat(inside, " ", outside, " 1"));
}

ErrnoOr<void> MapOwnGroup(uint32_t inside, uint32_t outside) {
  // The kernel asks for it: a group that one leaves may be one that a file denies something.
  RETURN_IF_ERROR(WriteFile("/proc/self/setgroups", "deny"));
  return WriteFile("/proc/self/gid_map", absl::StrCat(inside, " ", outside, " 1"));
}

}  // namespace gofer::sys
