// Counts every malloc of the process. To link it is to replace malloc.
//
// Threads: safe.

#ifndef TEST_ALLOCATION_COUNTER_H_
#define TEST_ALLOCATION_COUNTER_H_

#include <cstddef>

namespace gofer::testing {

// How many there have been.
size_t Allocations();
// False where a sanitizer has replaced malloc already.
bool CountsAllocations();

}  // namespace gofer::testing

#endif  // TEST_ALLOCATION_COUNTER_H_
