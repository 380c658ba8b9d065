// The other end of a control socket: what the commands of the command line use.
//
// Threads: one per socket. Errors: absl::Status; a failure that the gofer reports is kAborted with
//          its text, and has the exit status that it asks for.

#ifndef GOFER_CONTROL_CLIENT_H_
#define GOFER_CONTROL_CLIENT_H_

#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/control.pb.h"

namespace gofer::control {

// A connection to the gofer that listens at `path`.
absl::StatusOr<UniqueFd> ConnectToGofer(const std::string& path);

// Sends one request, with a descriptor if it is valid, and returns the last reply; `progress` sees
// those before it.
absl::StatusOr<Reply> Command(BorrowedFd socket, const Request& request, BorrowedFd descriptor,
                              absl::FunctionRef<void(const Progress&)> progress);

}  // namespace gofer::control

#endif  // GOFER_CONTROL_CLIENT_H_
