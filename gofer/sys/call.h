// The seam under every host call of serving code: EINTR is retried here and nowhere else, and a
// build with --config=fault can make the n-th call of a kind fail (spec/security.md s.9).
//
// Internal to gofer/sys. Threads: safe.

#ifndef GOFER_SYS_CALL_H_
#define GOFER_SYS_CALL_H_

#include <cerrno>

#ifdef GOFER_FAULT_INJECTION
#include "gofer/sys/fault.h"
#endif

namespace gofer::sys::internal {

// Runs one system call, named as in its man page, until it ends by something else than EINTR.
template <typename F>
auto Call([[maybe_unused]] const char* name, F&& system_call) -> decltype(system_call()) {
  for (;;) {
#ifdef GOFER_FAULT_INJECTION
    if (const int injected = NextFault(name); injected != 0) {
      errno = injected;
      if (injected == EINTR) continue;
      return -1;
    }
#endif
    const auto result = system_call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace gofer::sys::internal

#endif  // GOFER_SYS_CALL_H_
