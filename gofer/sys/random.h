// Random bytes that nobody can guess.
//
// Threads: safe. Errors: the kernel's errno; none once the machine has booted.
// Source:  getrandom(2).

#ifndef GOFER_SYS_RANDOM_H_
#define GOFER_SYS_RANDOM_H_

#include <cstddef>
#include <span>

#include "gofer/base/errno.h"

namespace gofer::sys {

// At most 256 bytes, which always come at once.
ErrnoOr<void> FillRandom(std::span<std::byte> to);

}  // namespace gofer::sys

#endif  // GOFER_SYS_RANDOM_H_
