#include "gofer/sys/interrupt.h"

#include <signal.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

ErrnoOr<void> EnableInterrupts() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  // Without SA_RESTART: the kernel would begin the call anew.
  if (internal::Call("rt_sigaction", [&] { return ::sigaction(SIGUSR1, &action, nullptr); }) < 0) {
    return Errno::Last();
  }
  return {};
}

void InterruptThread(pthread_t thread) { ::pthread_kill(thread, SIGUSR1); }

}  // namespace gofer::sys
