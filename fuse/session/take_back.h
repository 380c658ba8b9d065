// TakeBack: undoes what a reply has given to a client that never got it: the lookups of its
// entries, and its open files.
//
// Threads: safe. Source: spec/fuse.md s.6.

#ifndef FUSE_SESSION_TAKE_BACK_H_
#define FUSE_SESSION_TAKE_BACK_H_

#include <cstddef>
#include <span>

#include "fuse/session/connection.h"
#include "fuse/wire/abi.h"

namespace gofer::fuse {

// `reply` is what was written for that request, header included, in memory that is ours.
void TakeBack(Connection& connection, const InHeader& request, std::span<const std::byte> reply);

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_TAKE_BACK_H_
