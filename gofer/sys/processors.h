// How many processors this process may run on.
//
// Not std::thread::hardware_concurrency: that one reads /sys, which a confined process does not
// have and its system call filter does not allow, and it counts processors that the process may not
// use.
//
// Threads: safe. Errors: none; 1 if the kernel does not say. Source: sched_getaffinity(2).

#ifndef GOFER_SYS_PROCESSORS_H_
#define GOFER_SYS_PROCESSORS_H_

namespace gofer::sys {

int ProcessorCount();

}  // namespace gofer::sys

#endif  // GOFER_SYS_PROCESSORS_H_
