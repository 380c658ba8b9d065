// A file that one process at a time holds, such as one with its process id.
//
// Owner:   the lock lasts as long as the descriptor or a copy of it is open, in children too.
// Threads: safe. Errors: EWOULDBLOCK when another process holds it, EPERM for what is not a plain
//          file of our own, else the kernel's errno.
// Source:  flock(2); spec/virtiofsd-parity.md A8.

#ifndef GOFER_SYS_LOCK_FILE_H_
#define GOFER_SYS_LOCK_FILE_H_

#include <cstdint>

#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// Opens the name for writing, makes it with `mode` if it is not there, and locks it without
// waiting. A symbolic link is not followed (ELOOP).
ErrnoOr<UniqueFd> OpenLocked(BorrowedFd dir, const Name& name, uint32_t mode);

}  // namespace gofer::sys

#endif  // GOFER_SYS_LOCK_FILE_H_
