// Streams that a peer has given us, pipes or sockets, whose other end may be slow or do nothing.
//
// Owner:   descriptors are the caller's; the open file description does not block afterwards.
// Threads: safe. Both wait as long as the peer lets them, until `given_up` becomes readable.
// Errors:  ECANCELED when `given_up` has; EFBIG: more came than the limit; else the kernel's errno.
//          The process ignores SIGPIPE.

#ifndef GOFER_SYS_STREAM_H_
#define GOFER_SYS_STREAM_H_

#include <cstddef>
#include <span>
#include <string>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// All of it.
ErrnoOr<void> WriteStream(BorrowedFd stream, std::span<const std::byte> bytes, BorrowedFd given_up);
// To the end of file.
ErrnoOr<std::string> ReadStream(BorrowedFd stream, size_t limit, BorrowedFd given_up);

}  // namespace gofer::sys

#endif  // GOFER_SYS_STREAM_H_
