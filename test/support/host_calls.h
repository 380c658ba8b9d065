// Which system calls of a gofer are about the host's files and its peers: those whose failure a
// test may ask for. Memory, threads and clocks are not; nobody goes on without them.

#ifndef TEST_SUPPORT_HOST_CALLS_H_
#define TEST_SUPPORT_HOST_CALLS_H_

#include "test/support/system_call_tracer.h"

namespace gofer::testing {

bool IsHostCall(const SystemCall& call);

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_HOST_CALLS_H_
