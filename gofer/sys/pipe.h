// Pipes and FIFOs: what is in them, for who saves and restores it.
//
// Owner:   descriptors are the caller's, opened non-blocking: then no call waits.
// Threads: safe.
// Errors:  the kernel's errno, and
//            EFBIG   there is more in it than the limit;
//            EPERM   this user may have no pipe that is large enough (pipe-user-pages-soft).
// Units:   bytes.
// Source:  tee(2), pipe(7), fcntl(2) F_SETPIPE_SZ.

#ifndef GOFER_SYS_PIPE_H_
#define GOFER_SYS_PIPE_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// All that is in it, which stays there.
ErrnoOr<std::string> PeekPipe(BorrowedFd pipe, size_t limit);
// Takes up to `size` bytes out of it.
ErrnoOr<std::string> DrainPipe(BorrowedFd pipe, size_t size);
// Puts bytes behind those that are in it, and makes it larger if they do not fit.
ErrnoOr<void> FillPipe(BorrowedFd pipe, absl::string_view bytes);

}  // namespace gofer::sys

#endif  // GOFER_SYS_PIPE_H_
