// The operations of the server: one row per message, and the row is the documentation.
//
// Owner:   static. Threads: immutable.
// Source:  spec/lisafs.md s.1, s.4.1, s.4.5, s.5.

#ifndef LISAFS_SERVER_OP_TABLE_H_
#define LISAFS_SERVER_OP_TABLE_H_

#include <span>

#include "gofer/base/errno.h"
#include "lisafs/server/options.h"
#include "lisafs/transport/call.h"
#include "lisafs/wire/message_id.h"

namespace lisafs {

class Connection;

struct Op {
  // Decodes call.payload and writes call.body; what it returns becomes an Error reply.
  gofer::ErrnoOr<void> (*handler)(Connection& connection, Call& call) = nullptr;
  // Refused with EROFS on a read-only connection, before its request is even decoded.
  bool writes = false;
};

// Null if no server of that personality has it.
const Op* FindOp(MessageId id, Personality personality);
// The ids that Mount announces, in the reference's order.
std::span<const MessageId> AnnouncedIds(Personality personality);

}  // namespace lisafs

#endif  // LISAFS_SERVER_OP_TABLE_H_
