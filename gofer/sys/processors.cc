#include "gofer/sys/processors.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>

namespace gofer::sys {

int ProcessorCount() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  // EINVAL on a machine with more than 1024 processors: then they are many, however many.
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return errno == EINVAL ? CPU_SETSIZE : 1;
  return std::max(1, CPU_COUNT(&allowed));
}

}  // namespace gofer::sys
