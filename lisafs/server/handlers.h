// The handlers of all messages, a file per family, and what they share.
//
// A handler decodes (EIO), checks names, looks ids up, checks types and whether nodes are deleted,
// in that order, since a client sees it; then it calls the core. Whether the connection may write
// was checked before it. It makes no system call and never sees a path.
//
// Threads: safe; several run at once on one connection.
// Source:  spec/lisafs.md s.4.3, s.5.

#ifndef LISAFS_SERVER_HANDLERS_H_
#define LISAFS_SERVER_HANDLERS_H_

#include <utility>

#include "absl/status/statusor.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "lisafs/server/connection.h"
#include "lisafs/transport/call.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

using gofer::Errno;
using gofer::ErrnoOr;
using gofer::Name;
using gofer::RefPtr;

// A body that does not decode is EIO, whatever is wrong with it.
template <typename T>
ErrnoOr<T> OrEio(absl::StatusOr<T> decoded) {
  if (!decoded.ok()) return Errno(EIO);
  return *std::move(decoded);
}

// The wire's Statx of the host's attributes.
Statx ToWire(const Connection& connection, const gofer::sys::Attr& attr);

// A directory in which names may be made or removed, and the name: what most messages about names
// begin with. In this order: EINVAL for the bytes of the name; EBADF, EINVAL for the id; ENOTDIR;
// EINVAL if the directory is deleted; ENAMETOOLONG.
struct DirAndName {
  RefPtr<ControlFd> dir;
  Name name;
};
ErrnoOr<DirAndName> WritableName(const Connection& connection, FdId dir, absl::string_view name);
// Whether clients may have a ControlFd on a file of this type: EPERM for block devices and what is
// unknown.
ErrnoOr<void> CheckType(uint32_t type);
// A new ControlFd and its attributes.
Inode NewInode(Connection& connection, gofer::fs::Entry entry);

// connection
ErrnoOr<void> OnMount(Connection& connection, Call& call);
ErrnoOr<void> OnChannel(Connection& connection, Call& call);
ErrnoOr<void> OnClose(Connection& connection, Call& call);
// attr
ErrnoOr<void> OnFStat(Connection& connection, Call& call);
ErrnoOr<void> OnSetStat(Connection& connection, Call& call);
ErrnoOr<void> OnFStatFS(Connection& connection, Call& call);
// walk
ErrnoOr<void> OnWalk(Connection& connection, Call& call);
ErrnoOr<void> OnWalkStat(Connection& connection, Call& call);
// open
ErrnoOr<void> OnOpenAt(Connection& connection, Call& call);
ErrnoOr<void> OnOpenCreateAt(Connection& connection, Call& call);
// io
ErrnoOr<void> OnPRead(Connection& connection, Call& call);
ErrnoOr<void> OnPWrite(Connection& connection, Call& call);
ErrnoOr<void> OnFSync(Connection& connection, Call& call);
ErrnoOr<void> OnFAllocate(Connection& connection, Call& call);
// dir
ErrnoOr<void> OnMkdirAt(Connection& connection, Call& call);
ErrnoOr<void> OnMknodAt(Connection& connection, Call& call);
ErrnoOr<void> OnUnlinkAt(Connection& connection, Call& call);
ErrnoOr<void> OnRenameAt(Connection& connection, Call& call);
ErrnoOr<void> OnRenameAt2(Connection& connection, Call& call);
ErrnoOr<void> OnGetdents64(Connection& connection, Call& call);
// link
ErrnoOr<void> OnSymlinkAt(Connection& connection, Call& call);
ErrnoOr<void> OnLinkAt(Connection& connection, Call& call);
ErrnoOr<void> OnReadLinkAt(Connection& connection, Call& call);
// xattr
ErrnoOr<void> OnFGetXattr(Connection& connection, Call& call);
ErrnoOr<void> OnFSetXattr(Connection& connection, Call& call);
ErrnoOr<void> OnFListXattr(Connection& connection, Call& call);
ErrnoOr<void> OnFRemoveXattr(Connection& connection, Call& call);
// socket
ErrnoOr<void> OnConnect(Connection& connection, Call& call);
ErrnoOr<void> OnConnectWithCreds(Connection& connection, Call& call);
ErrnoOr<void> OnBindAt(Connection& connection, Call& call);
ErrnoOr<void> OnListen(Connection& connection, Call& call);
ErrnoOr<void> OnAccept(Connection& connection, Call& call);

}  // namespace lisafs

#endif  // LISAFS_SERVER_HANDLERS_H_
