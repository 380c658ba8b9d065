// Walk and WalkStat: from a directory along names, without following symlinks.
//
// A walk looks at one directory at a time. If a rename was done meanwhile it may have seen a
// path that never existed whole, so it is done again; renames without end do not stop it, they only
// cost it that promise.

#include <sys/stat.h>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"
#include "lisafs/server/handlers.h"
#include "lisafs/wire/responses.h"

namespace lisafs {
namespace {

constexpr int kMaxTries = 4;

// Runs `walk` until no rename was done during it. Each try starts its reply anew.
template <typename F>
ErrnoOr<void> Undisturbed(gofer::fs::Filesystem& filesystem, Call& call, size_t num_names,
                          F&& walk) {
  for (int tries = 1;; ++tries) {
    const uint64_t renames = filesystem.rename_count();
    const ErrnoOr<void> result = walk();
    if (num_names < 2 || tries == kMaxTries || filesystem.rename_count() == renames) return result;
    call.body.Clear();
  }
}

// The files that a walk came to. A walk of many components is rare enough to allocate.
using Walked = absl::InlinedVector<RefPtr<ControlFd>, 16>;

// Writes the reply but for the ids, which exist only when the whole walk has succeeded.
ErrnoOr<void> WalkAlong(Connection& connection, Call& call, RefPtr<ControlFd> at,
                        const StringArray& path, Walked& walked) {
  walked.clear();
  call.body.Write(WalkRespFixed{});
  WalkStatus status = WalkStatus::kSuccess;
  for (const absl::string_view component : path) {
    ASSIGN_OR_RETURN(const Name name, Name::Parse(component));
    if (at->type() == S_IFLNK) {
      status = WalkStatus::kComponentSymlink;
      break;
    }
    ErrnoOr<gofer::fs::Entry> entry = connection.filesystem().Lookup(*at, name);
    if (!entry.ok()) {
      if (!(entry.error() == ENOENT)) return entry.error();
      status = WalkStatus::kComponentDoesNotExist;
      break;
    }
    RETURN_IF_ERROR(CheckType(entry->dentry->type()));
    call.body.Write(Inode{.control_fd = FdId::kInvalid, .stat = ToWire(connection, entry->attr)});
    at = std::move(entry->dentry);
    walked.push_back(at);
  }
  call.body.Patch(
      0, WalkRespFixed{.status = status, .num_inodes = static_cast<uint16_t>(walked.size())});
  return {};
}

}  // namespace

ErrnoOr<void> OnWalk(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const WalkReq request, OrEio(DecodeWalkReq("Walk", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> start, connection.fds().Control(request.dir_fd));
  if (!start->is_directory()) return Errno(ENOTDIR);
  if (request.path.size() > kMaxWalkNames) return Errno(EIO);
  Walked walked;
  const ErrnoOr<void> result = Undisturbed(connection.filesystem(), call, request.path.size(), [&] {
    return WalkAlong(connection, call, start, request.path, walked);
  });
  if (!result.ok()) {
    connection.fds().Skip(walked.size());
    return result.error();
  }
  for (size_t i = 0; i < walked.size(); ++i) {
    const FdId id = connection.fds().Add(std::move(walked[i]));
    call.body.Patch(sizeof(WalkRespFixed) + i * sizeof(Inode) + offsetof(Inode, control_fd), id);
  }
  return {};
}

namespace {

ErrnoOr<void> StatAlong(Connection& connection, Call& call, RefPtr<ControlFd> at,
                        const StringArray& path) {
  gofer::fs::Filesystem& filesystem = connection.filesystem();
  uint16_t count = 0;
  call.body.Write(count);  // patched below
  size_t left = path.size();
  for (const absl::string_view component : path) {
    --left;
    ErrnoOr<gofer::sys::Attr> attr = Errno(ENOENT);
    if (component.empty()) {  // the start itself; names were checked, so this is the first
      attr = filesystem.Stat(*at);
    } else {
      if (at->type() == S_IFLNK) break;
      ASSIGN_OR_RETURN(const Name name, Name::Parse(component));
      if (left == 0) {
        attr = filesystem.StatChild(*at, name);
        if (attr.ok()) RETURN_IF_ERROR(CheckType(attr->stx_mode & S_IFMT));
      } else {
        ErrnoOr<gofer::fs::Entry> entry = filesystem.Lookup(*at, name);
        if (entry.ok()) {
          RETURN_IF_ERROR(CheckType(entry->dentry->type()));
          at = std::move(entry->dentry);
          attr = entry->attr;
        } else {
          attr = entry.error();
        }
      }
    }
    if (!attr.ok()) {
      if (attr.error() == ENOENT) break;
      return attr.error();
    }
    call.body.Write(ToWire(connection, *attr));
    ++count;
  }
  call.body.Patch(0, count);
  return {};
}

}  // namespace

ErrnoOr<void> OnWalkStat(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const WalkReq request, OrEio(DecodeWalkReq("WalkStat", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> start, connection.fds().Control(request.dir_fd));
  const bool self_only =
      request.path.empty() || (request.path.size() == 1 && (*request.path.begin()).empty());
  if (!start->is_directory() && !self_only) return Errno(ENOTDIR);
  bool first = true;
  for (const absl::string_view component : request.path) {
    if (!std::exchange(first, false) || !component.empty())
      RETURN_IF_ERROR(Name::CheckBytes(component));
  }
  if (request.path.size() > kMaxWalkStatNames) return Errno(EIO);
  return Undisturbed(connection.filesystem(), call, request.path.size(),
                     [&] { return StatAlong(connection, call, start, request.path); });
}

}  // namespace lisafs
