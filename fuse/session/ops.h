// The handlers of all requests, a file per family, and what they share.
//
// A handler decodes (EINVAL), looks nodes and handles up (EBADF), checks names and flags, and calls
// the core. Whether the mount may be written to, and whether the client has left room for a reply
// of the fixed size, was checked before it. It makes no system call and never sees a path.
//
// Threads: safe; several run at once on one connection.
// Source:  spec/fuse.md s.5.

#ifndef FUSE_SESSION_OPS_H_
#define FUSE_SESSION_OPS_H_

#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fuse/session/call.h"
#include "fuse/session/connection.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fuse {

// Cutting this much or more off a file takes the host long enough to be a worker's job.
inline constexpr uint64_t kLongTruncation = 64 << 20;

// A request that does not decode is EINVAL, whatever is wrong with it.
template <typename T>
ErrnoOr<T> OrEinval(absl::StatusOr<T> decoded) {
  if (!decoded.ok()) return Errno(EINVAL);
  return *std::move(decoded);
}

// The node that the request is about, and the handle, which must have been opened on it.
inline ErrnoOr<RefPtr<fs::Dentry>> NodeOf(Connection& connection, const Call& call) {
  return connection.nodes().Find(call.header.nodeid);
}
inline ErrnoOr<OpenFile> FileOf(Connection& connection, const Call& call, HandleId handle) {
  return connection.handles().Find(handle, call.header.nodeid);
}

// A directory and a checked name in it: what most requests about names begin with.
struct DirAndName {
  RefPtr<fs::Dentry> dir;
  Name name;
};
ErrnoOr<DirAndName> NameIn(Connection& connection, NodeId dir, absl::string_view name);

// The host's attributes as the client sees them.
Attr ToWire(const Connection& connection, const sys::Attr& attr);
// An entry for a reply: the client knows the node one time more afterwards.
ErrnoOr<EntryOut> NewEntry(Connection& connection, const fs::Dentry& dir, fs::Entry entry);

// File capabilities that the options keep under another name: what the kernel does to the real ones
// when a file is written, truncated or given away is done here. Nothing without such an option.
ErrnoOr<void> DropMappedCapability(Connection& connection, fs::Dentry& dentry);

// lookup
ErrnoOr<void> OnLookup(Connection& connection, Call& call);
ErrnoOr<void> OnForget(Connection& connection, Call& call);
ErrnoOr<void> OnBatchForget(Connection& connection, Call& call);
// attr
ErrnoOr<void> OnGetattr(Connection& connection, Call& call);
ErrnoOr<void> OnStatx(Connection& connection, Call& call);
ErrnoOr<void> OnSetattr(Connection& connection, Call& call);
ErrnoOr<void> OnAccess(Connection& connection, Call& call);
ErrnoOr<void> OnStatfs(Connection& connection, Call& call);
// open
ErrnoOr<void> OnOpen(Connection& connection, Call& call);
ErrnoOr<void> OnOpendir(Connection& connection, Call& call);
ErrnoOr<void> OnCreate(Connection& connection, Call& call);
ErrnoOr<void> OnTmpfile(Connection& connection, Call& call);
ErrnoOr<void> OnFlush(Connection& connection, Call& call);
ErrnoOr<void> OnRelease(Connection& connection, Call& call);
// io
ErrnoOr<void> OnRead(Connection& connection, Call& call);
ErrnoOr<void> OnWrite(Connection& connection, Call& call);
ErrnoOr<void> OnFsync(Connection& connection, Call& call);
ErrnoOr<void> OnFallocate(Connection& connection, Call& call);
ErrnoOr<void> OnLseek(Connection& connection, Call& call);
ErrnoOr<void> OnCopyFileRange(Connection& connection, Call& call);
ErrnoOr<void> OnSyncfs(Connection& connection, Call& call);
// dir
ErrnoOr<void> OnReaddir(Connection& connection, Call& call);
ErrnoOr<void> OnReaddirplus(Connection& connection, Call& call);
ErrnoOr<void> OnMkdir(Connection& connection, Call& call);
ErrnoOr<void> OnMknod(Connection& connection, Call& call);
ErrnoOr<void> OnUnlink(Connection& connection, Call& call);
ErrnoOr<void> OnRmdir(Connection& connection, Call& call);
ErrnoOr<void> OnRename(Connection& connection, Call& call);
ErrnoOr<void> OnRename2(Connection& connection, Call& call);
// link
ErrnoOr<void> OnReadlink(Connection& connection, Call& call);
ErrnoOr<void> OnSymlink(Connection& connection, Call& call);
ErrnoOr<void> OnLink(Connection& connection, Call& call);
// xattr
ErrnoOr<void> OnSetxattr(Connection& connection, Call& call);
ErrnoOr<void> OnGetxattr(Connection& connection, Call& call);
ErrnoOr<void> OnListxattr(Connection& connection, Call& call);
ErrnoOr<void> OnRemovexattr(Connection& connection, Call& call);
// lock
ErrnoOr<void> OnGetlk(Connection& connection, Call& call);
ErrnoOr<void> OnSetlk(Connection& connection, Call& call);
ErrnoOr<void> OnSetlkw(Connection& connection, Call& call);
ErrnoOr<void> OnInterrupt(Connection& connection, Call& call);
// misc
ErrnoOr<void> OnIoctl(Connection& connection, Call& call);

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_OPS_H_
