// Runs another program to its end: the hooks of a container's spec, before the gofer confines
// itself.
//
// Owner:   the child is waited for. Threads: start-up only.
// Errors:  the kernel's errno; ETIMEDOUT when it was killed for taking too long.
// Source:  posix_spawn(3), pidfd_open(2).

#ifndef GOFER_SYS_PROGRAM_H_
#define GOFER_SYS_PROGRAM_H_

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "gofer/base/errno.h"

namespace gofer::sys {

struct Program {
  std::string path;
  std::vector<std::string> arguments = {};    // with argv[0]; empty: the path alone
  std::vector<std::string> environment = {};  // NAME=value
  std::string input = {};                     // becomes its standard input
  absl::Duration timeout = absl::InfiniteDuration();
};

// The exit status, 128 plus the number for a signal. Output goes where ours goes.
ErrnoOr<int> RunProgram(const Program& program);

}  // namespace gofer::sys

#endif  // GOFER_SYS_PROGRAM_H_
