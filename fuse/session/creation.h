// Creation requests: whose the new file is, its mode, and its security label. What CREATE, TMPFILE,
// MKDIR, MKNOD and SYMLINK have in common.
//
// Source: spec/fuse.md s.4.2, s.7.4, s.7.5, s.10, s.13.4; spec/virtiofsd-parity.md section J.

#ifndef FUSE_SESSION_CREATION_H_
#define FUSE_SESSION_CREATION_H_

#include <cstdint>

#include "fuse/session/call.h"
#include "fuse/session/connection.h"
#include "fuse/wire/requests.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fuse {

// EINVAL for a client that does not say who it is, EPERM for ids that the options forbid.
ErrnoOr<fs::Creation> CreationFor(const Connection& connection, const Call& call, uint32_t mode,
                                  uint32_t umask, const Extensions& extensions);

// Gives what was made in `dir` its label, where one was agreed on and sent; on failure the name is
// removed again, with `unlink_flags`. A null name: it has none.
ErrnoOr<void> Label(Connection& connection, const Extensions& extensions, fs::Dentry& made,
                    fs::Dentry& dir, const Name* name, int unlink_flags);

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_CREATION_H_
