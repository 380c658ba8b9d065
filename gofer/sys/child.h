// A second process of this very program, and its end.
//
// Owner:   the caller waits for its children. Threads: start-up only, while there is no other: a
//          forked child has this one thread and every lock as it was.
// Errors:  the kernel's errno.
// Source:  fork(2), prctl(2) PR_SET_PDEATHSIG, pidfd_open(2), waitid(2).

#ifndef GOFER_SYS_CHILD_H_
#define GOFER_SYS_CHILD_H_

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// 0 in the child, its process id here. The child gets `death_signal` when this process ends, even
// if that was before it could ask for it: it is ended then.
ErrnoOr<int> Fork(int death_signal);

// Is readable when the process has ended.
ErrnoOr<UniqueFd> ProcessDescriptor(int pid);

struct ChildStatus {
  int status = 0;  // what it exited with
  int signal = 0;  // or the signal that ended it
};
// Waits for the end of a child.
ErrnoOr<ChildStatus> WaitForChild(int pid);

// To a child that has not been waited for.
ErrnoOr<void> SignalChild(int pid, int signal);

}  // namespace gofer::sys

#endif  // GOFER_SYS_CHILD_H_
