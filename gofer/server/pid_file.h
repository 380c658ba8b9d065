// The file with the process id, which is also what keeps a second process from serving the same
// sockets.
//
// Owner:   the descriptor holds the file's lock; a process that ends gives it back, and the file
//          stays.
// Threads: start-up only. Errors: absl::Status with the path.
// Source:  spec/virtiofsd-parity.md A8.

#ifndef GOFER_SERVER_PID_FILE_H_
#define GOFER_SERVER_PID_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"

namespace gofer::server {

// Writes the process id and a newline, mode 0600. A file of ours that nobody holds is taken over;
// one that another process holds, and anything that is not our plain file, is an error.
absl::StatusOr<UniqueFd> WritePidFile(const std::string& path);

}  // namespace gofer::server

#endif  // GOFER_SERVER_PID_FILE_H_
