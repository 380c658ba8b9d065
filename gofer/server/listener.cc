#include "gofer/server/listener.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"

namespace gofer::server {
namespace {

constexpr uint32_t kMode = 0600;
constexpr uint32_t kGroupMode = 0660;
constexpr int kBacklog = 16;

// Whether the name is a socket file that refuses connections: what a process leaves behind that has
// ended.
ErrnoOr<bool> IsAbandoned(BorrowedFd dir, const Name& name) {
  ASSIGN_OR_RETURN(const UniqueFd file, sys::OpenPath(dir, name));
  ASSIGN_OR_RETURN(const sys::Attr attr, sys::Statx(file));
  if (!S_ISSOCK(attr.stx_mode)) return false;
  ASSIGN_OR_RETURN(UniqueFd descriptors, sys::OpenProcSelfFd());
  const sys::ProcFds proc_fds(std::move(descriptors));
  const ErrnoOr<UniqueFd> connected = sys::ConnectTo(proc_fds, file, SOCK_STREAM, nullptr);
  return !connected.ok() && connected.error() == ECONNREFUSED;
}

ErrnoOr<UniqueFd> Bind(BorrowedFd dir, const Name& name) {
  ErrnoOr<UniqueFd> bound = sys::BindAt(dir, name, SOCK_STREAM, kMode);
  if (bound.ok() || !(bound.error() == EADDRINUSE)) return bound;
  ASSIGN_OR_RETURN(const bool abandoned, IsAbandoned(dir, name));
  if (!abandoned) return Errno(EADDRINUSE);
  RETURN_IF_ERROR(sys::Unlink(dir, name, 0));
  return sys::BindAt(dir, name, SOCK_STREAM, kMode);
}

ErrnoOr<void> Admit(BorrowedFd dir, const Name& name, uint32_t group) {
  // The group has no right to it before it is the right group.
  ASSIGN_OR_RETURN(const UniqueFd file, sys::OpenPath(dir, name));
  ASSIGN_OR_RETURN(UniqueFd descriptors, sys::OpenProcSelfFd());
  RETURN_IF_ERROR(sys::ChangeOwner(file, ~0u, group));
  return sys::ProcFds(std::move(descriptors)).ChangeMode(file, kGroupMode);
}

}  // namespace

absl::StatusOr<Listener> Listener::Create(const std::string& path, const std::string& group) {
  const std::string what = absl::StrCat("socket ", path);
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const ErrnoOr<Name> name =
      Name::Parse(slash == std::string::npos ? path : path.substr(slash + 1));
  if (!name.ok()) return ToStatus(name.error(), what);
  const ErrnoOr<UniqueFd> dir = sys::OpenLocation(parent.c_str());
  if (!dir.ok()) return ToStatus(dir.error(), absl::StrCat(what, ": its directory"));
  const ErrnoOr<uint32_t> number = sys::FindGroup(group);
  if (!group.empty() && !number.ok()) {
    return ToStatus(number.error(), absl::StrCat("group ", group, " of ", what));
  }
  ErrnoOr<UniqueFd> socket = Bind(*dir, *name);
  if (!socket.ok()) return ToStatus(socket.error(), what);
  if (!group.empty()) {
    const ErrnoOr<void> admitted = Admit(*dir, *name, *number);
    if (!admitted.ok()) {
      return ToStatus(admitted.error(), absl::StrCat(what, ": give it to group ", group));
    }
  }
  if (const ErrnoOr<void> listening = sys::Listen(*socket, kBacklog); !listening.ok()) {
    return ToStatus(listening.error(), what);
  }
  return Listener(*std::move(socket));
}

ErrnoOr<UniqueFd> Listener::Accept() const {
  ASSIGN_OR_RETURN(UniqueFd client, sys::Accept(socket_));
  RETURN_IF_ERROR(sys::SetNonBlocking(client, false));
  return client;
}

}  // namespace gofer::server
