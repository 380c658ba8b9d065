// Futex calls on a word that two processes share. Never the private kind: the peer is another
// process.
//
// Threads: safe. Errors: none reported; a wait may end for no reason, so the caller loops on the
//          word.
// Source:  futex(2); spec/lisafs.md s.2.5.

#ifndef GOFER_SYS_FUTEX_H_
#define GOFER_SYS_FUTEX_H_

#include <atomic>
#include <cstdint>

namespace gofer::sys {

// Sleeps while `word` holds `expected`. Returns when woken, on a signal, or at once when it does
// not.
void FutexWait(std::atomic<uint32_t>& word, uint32_t expected);
// Wakes up to `count` sleepers.
void FutexWake(std::atomic<uint32_t>& word, int count);

}  // namespace gofer::sys

#endif  // GOFER_SYS_FUTEX_H_
