// A helper process: forked before there is a second thread, it keeps what the process that serves
// gives up (a namespace, privileges) and does one thing with it when it is told to, or when that
// process is gone.
//
// Owner:   the socket. The helper lives until its body returns; closing the socket is its end of
//          file. Threads: start-up only.
// Errors:  the kernel's errno.
// Source:  fork(2), setsid(2).

#ifndef GOFER_SYS_HELPER_PROCESS_H_
#define GOFER_SYS_HELPER_PROCESS_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// Runs `body` in a child process and gives the end of a socket to it. The child is in a session of
// its own, its working directory is /, no signal but SIGKILL ends it, and of our descriptors it has
// `keep` alone; its standard streams are /dev/null. `keep` are the same numbers there as here.
ErrnoOr<UniqueFd> StartHelper(const char* name, std::span<const int> keep,
                              absl::FunctionRef<void(BorrowedFd socket)> body);

// Numbers over that socket, either way. Receiving waits; nothing: the other end is gone.
ErrnoOr<void> SendNumber(BorrowedFd socket, int32_t number);
ErrnoOr<std::optional<int32_t>> ReceiveNumber(BorrowedFd socket);

}  // namespace gofer::sys

#endif  // GOFER_SYS_HELPER_PROCESS_H_
