// Files of the process's own, in a directory that others may plant things in: image files.
//
// Threads: safe. Errors: the kernel's errno.
// Source:  spec/security.md s.1 step 4 and s.6.

#ifndef GOFER_SYS_OWN_DIRECTORY_H_
#define GOFER_SYS_OWN_DIRECTORY_H_

#include <string>
#include <vector>

#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// A directory for reading and syncing; ENOTDIR if it is none. A symlink in the last component is
// not followed.
ErrnoOr<UniqueFd> OpenOwnDirectory(const char* path);
// A regular file of it for reading: never through a symlink (ELOOP), never waiting. EINVAL if it is
// something else.
ErrnoOr<UniqueFd> OpenRegular(BorrowedFd directory, const Name& name);
// The names in it, without "." and "..", in no order.
ErrnoOr<std::vector<std::string>> ListNames(BorrowedFd directory);

}  // namespace gofer::sys

#endif  // GOFER_SYS_OWN_DIRECTORY_H_
