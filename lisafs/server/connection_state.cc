// Saving and restoring what a connection's client can name.

#include <sys/stat.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "lisafs/server/connection.h"

namespace lisafs {

using gofer::Errno;
using gofer::ErrnoOr;
using gofer::RefPtr;
using gofer::fs::kNoIndex;

namespace {

template <typename... Parts>
absl::Status Damaged(const Parts&... parts) {
  return absl::DataLossError(absl::StrCat("image: LISAFS connection: ", parts...));
}

}  // namespace

ConnectionState Connection::Save(gofer::fs::Snapshot& snapshot) const {
  ConnectionState state;
  state.mount_path = options_.mount_path;
  state.readonly = options_.readonly;
  {
    absl::ReaderMutexLock lock(&mount_point_mu_);
    if (mount_point_) state.mount_point = snapshot.Add(*mount_point_);
  }
  state.next_id = fds_.next_id();
  const std::vector<FdTable::Named> all = fds_.All();
  state.fds.reserve(all.size());
  for (const FdTable::Named& named : all) {
    FdState fd = {.id = static_cast<uint64_t>(named.id), .kind = named.kind};
    if (named.control) fd.row = snapshot.Add(*named.control);
    if (named.open) fd.row = snapshot.Add(*named.open);
    if (named.bound) {
      fd.row = snapshot.Add(named.bound->dentry());
      fd.socket_type = named.bound->type();
      fd.listening = named.bound->listening();
      fd.backlog = named.bound->backlog();
    }
    state.fds.push_back(fd);
  }
  return state;
}

absl::Status Connection::Restore(const ConnectionState& state, gofer::fs::TreeRestore& tree) {
  const gofer::fs::FilesystemState& files = tree.state();
  if (state.mount_path != options_.mount_path) {
    return absl::FailedPreconditionError(absl::StrCat(
        "image: a LISAFS connection of ", state.mount_path, " cannot go on at ",
        options_.mount_path, "; hand the sockets down in the order in which they were saved"));
  }
  if (state.readonly != options_.readonly) {
    return absl::FailedPreconditionError(
        absl::StrCat("image: a LISAFS connection of ", state.mount_path, " was ",
                     state.readonly ? "read-only" : "writable", ", now it is ",
                     options_.readonly ? "read-only" : "writable"));
  }
  if (state.mount_point != kNoIndex) {
    if (state.mount_point >= files.dentries.size()) {
      return Damaged("mount point is name ", state.mount_point, " of ", files.dentries.size());
    }
    SetMountPoint(tree.dentry(state.mount_point));
  }
  fds_.SetNextId(state.next_id);
  // Sockets first: their files are made anew, and other ids may be of the same.
  std::vector<std::pair<uint32_t, RefPtr<ControlFd>>> made;
  for (const FdState& fd : state.fds) {
    if (fd.kind == FdKind::kBound) RETURN_IF_ERROR(RestoreSocket(fd, tree, made));
  }
  tree.Replace(made);
  for (const FdState& fd : state.fds) RETURN_IF_ERROR(RestoreFd(fd, tree));
  return absl::OkStatus();
}

absl::Status Connection::RestoreFd(const FdState& state, gofer::fs::TreeRestore& tree) {
  const bool is_open = state.kind == FdKind::kOpen;
  const size_t rows = is_open ? tree.state().handles.size() : tree.state().dentries.size();
  if (state.row >= rows) return Damaged("id ", state.id, " is row ", state.row, " of ", rows);
  FdTable::Named named = {.id = static_cast<FdId>(state.id), .kind = state.kind};
  switch (state.kind) {
    case FdKind::kControl:
      named.control = tree.dentry(state.row);
      break;
    case FdKind::kOpen:
      named.open = tree.handle(state.row);
      break;
    case FdKind::kBound:
      return absl::OkStatus();  // see RestoreSocket
    case FdKind::kNone:
      return Damaged("id ", state.id, " is of no kind");
  }
  if (fds_.Put(std::move(named))) return absl::OkStatus();
  return Damaged("id ", state.id, " is there twice, or not below the next one, ", fds_.next_id());
}

absl::Status Connection::RestoreSocket(const FdState& state, const gofer::fs::TreeRestore& tree,
                                       std::vector<std::pair<uint32_t, RefPtr<ControlFd>>>& made) {
  if (state.row >= tree.state().dentries.size()) {
    return Damaged("id ", state.id, " is row ", state.row, " of ", tree.state().dentries.size());
  }
  RefPtr<ControlFd> file = tree.dentry(state.row);
  gofer::UniqueFd socket;
  // What listens at the name belongs to the gofer that saved it, and its kernel object cannot be
  // had: a new socket takes its place under the same name. One that is gone stays gone.
  if (!file->inode().lost() && !file->deleted()) {
    gofer::ErrnoOr<gofer::fs::BoundEntry> bound = Rebind(*file, state.socket_type);
    if (!bound.ok()) {
      return gofer::ToStatus(bound.error(),
                             absl::StrCat(filesystem_.PathOf(*file), ": binding a socket anew"));
    }
    file = bound->entry.dentry;
    socket = std::move(bound->socket);
    made.emplace_back(state.row, file);
  }
  auto restored =
      gofer::MakeRef<BoundSocket>(std::move(file), std::move(socket), state.socket_type);
  if (state.listening && restored->socket().valid()) {
    if (const ErrnoOr<void> listening = restored->Listen(state.backlog); !listening.ok()) {
      return gofer::ToStatus(listening.error(),
                             absl::StrCat(filesystem_.PathOf(restored->dentry()), ": listen"));
    }
  }
  if (fds_.Put({.id = static_cast<FdId>(state.id),
                .kind = FdKind::kBound,
                .bound = std::move(restored)})) {
    return absl::OkStatus();
  }
  return Damaged("id ", state.id, " is there twice, or not below the next one, ", fds_.next_id());
}

ErrnoOr<gofer::fs::BoundEntry> Connection::Rebind(ControlFd& file, uint32_t type) {
  if (file.type() != S_IFSOCK) return Errno(ENOTSOCK);
  ASSIGN_OR_RETURN(const gofer::sys::Attr attr, filesystem_.Stat(file));
  const gofer::fs::DentryCache::Place place = filesystem_.dentries().PlaceOf(file);
  ASSIGN_OR_RETURN(const gofer::Name name, gofer::Name::Parse(place.name));
  RETURN_IF_ERROR(filesystem_.Unlink(*place.parent, name, 0));
  return filesystem_.Bind(*place.parent, name, static_cast<int>(type), attr.stx_mode & 07777u,
                          {.uid = attr.stx_uid, .gid = attr.stx_gid});
}

}  // namespace lisafs
