// Where a session counts a request: a row for each opcode.
//
// Threads: a pure function. Source: fuse/wire/opcode.h.

#ifndef FUSE_SESSION_REQUEST_ROW_H_
#define FUSE_SESSION_REQUEST_ROW_H_

#include <algorithm>
#include <cstddef>

#include "fuse/wire/opcode.h"

namespace gofer::fuse {

// Numbers beyond those of the protocol have the last row, for all of them.
inline constexpr size_t kRequestRows = kNumOpcodes + 1;
inline size_t RequestRow(Opcode opcode) {
  return std::min(static_cast<size_t>(opcode), kNumOpcodes);
}

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_REQUEST_ROW_H_
