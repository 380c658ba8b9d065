// The operations of a session: one row per opcode, and the row is the documentation.
//
// INIT and DESTROY are not among them: they make and end what the others work on, see session.cc.
//
// Owner:   static. Threads: immutable.
// Source:  spec/fuse.md s.3.

#ifndef FUSE_SESSION_OP_TABLE_H_
#define FUSE_SESSION_OP_TABLE_H_

#include <cstddef>
#include <cstdint>

#include "fuse/wire/opcode.h"
#include "gofer/base/errno.h"

namespace gofer::fuse {

class Call;
class Connection;

struct Op {
  // Decodes call.args and writes call.reply; what it returns becomes the reply's error.
  ErrnoOr<void> (*handler)(Connection& connection, Call& call) = nullptr;
  // What the client must have left room for behind the header: the answer's fixed part.
  uint32_t reply_size = 0;
  // Refused with EROFS on a read-only mount, before it is even decoded.
  bool writes = false;
  // Always the work of a worker: it waits for a disk by its nature, or takes long.
  bool blocks = false;
  // Changes nothing that another request could tell, access times included.
  bool looks = false;
  // There is no reply, whatever happens.
  bool silent = false;
  // How much is copied out of the message; what follows is data that stays in place.
  size_t max_args = SIZE_MAX;
};

// Null: there is no such operation here, and the client may remember that.
const Op* FindOp(Opcode opcode);

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_OP_TABLE_H_
