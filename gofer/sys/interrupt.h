// Interrupts a thread in the call that it waits in, which then fails with EINTR: the way to end a
// thread that reads a device which has nothing for it.
//
// A thread that is interrupted just before it begins to wait waits on, so whoever interrupts does
// it until the thread has noticed what it is told otherwise.
//
// Threads: EnableInterrupts before the first further thread starts; InterruptThread is safe.
// Source:  pthread_kill(3), signal(7).

#ifndef GOFER_SYS_INTERRUPT_H_
#define GOFER_SYS_INTERRUPT_H_

#include <pthread.h>

#include "gofer/base/errno.h"

namespace gofer::sys {

// Takes SIGUSR1 for it.
ErrnoOr<void> EnableInterrupts();
// `thread` has not been joined.
void InterruptThread(pthread_t thread);

}  // namespace gofer::sys

#endif  // GOFER_SYS_INTERRUPT_H_
