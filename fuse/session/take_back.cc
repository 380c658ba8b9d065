#include "fuse/session/take_back.h"

#include "fuse/wire/dirent_writer.h"
#include "gofer/base/byte_reader.h"

namespace gofer::fuse {
namespace {

void ForgetOnce(Connection& connection, NodeId node) {
  if (node != NodeId::kNone) connection.nodes().Forget(node, 1);
}

}  // namespace

void TakeBack(Connection& connection, const InHeader& request, std::span<const std::byte> reply) {
  ByteReader reader("reply", reply);
  if (reader.Read<OutHeader>().error != 0) return;
  switch (request.opcode) {
    case Opcode::kLookup:
    case Opcode::kSymlink:
    case Opcode::kMknod:
    case Opcode::kMkdir:
    case Opcode::kLink:
      ForgetOnce(connection, reader.Read<EntryOut>().nodeid);
      return;
    case Opcode::kOpen:
    case Opcode::kOpendir:
      (void)connection.handles().Remove(reader.Read<OpenOut>().fh, request.nodeid);
      return;
    case Opcode::kCreate:
    case Opcode::kTmpfile: {
      const auto created = reader.Read<CreateOut>();
      (void)connection.handles().Remove(created.open.fh, created.entry.nodeid);
      ForgetOnce(connection, created.entry.nodeid);
      return;
    }
    case Opcode::kReaddirplus:
      while (reader.ok() && reader.remaining() > 0) {
        const auto record = reader.Read<Direntplus>();
        const size_t size = DirentWriter::SizeOf(sizeof(record), record.dirent.namelen);
        reader.ReadSpan(size - sizeof(record));
        ForgetOnce(connection, record.entry_out.nodeid);
      }
      return;
    default:
      return;  // it has given nothing
  }
}

}  // namespace gofer::fuse
