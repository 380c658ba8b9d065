// Fault injection for tests: decides, call by call, whether a host call fails before it reaches the
// kernel. Compiled only with --config=fault; the shipped binary has no trace of it. Tests of that
// one inject from outside, see test/support/system_call_tracer.h.
//
// Threads: the hook is set while nothing is served and may be called by many threads at once.

#ifndef GOFER_SYS_FAULT_H_
#define GOFER_SYS_FAULT_H_

#include <functional>

namespace gofer::sys {

// Called with the name of each host call; what it returns becomes errno, 0 lets the call through.
// Clear with {}.
using FaultHook = std::function<int(const char* name)>;
void SetFaultHook(FaultHook hook);

namespace internal {
int NextFault(const char* name);
}  // namespace internal

}  // namespace gofer::sys

#endif  // GOFER_SYS_FAULT_H_
