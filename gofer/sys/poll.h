// Waits for descriptors to become readable.
//
// Threads: safe. Errors: the kernel's errno; EINTR is retried inside.
// Source:  ppoll(2).

#ifndef GOFER_SYS_POLL_H_
#define GOFER_SYS_POLL_H_

#include <span>
#include <vector>

#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// The indices of those with something to read, end of file or an error; none after `timeout`.
ErrnoOr<std::vector<size_t>> WaitReadable(std::span<const BorrowedFd> fds, absl::Duration timeout);

}  // namespace gofer::sys

#endif  // GOFER_SYS_POLL_H_
