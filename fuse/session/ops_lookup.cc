// LOOKUP, FORGET, BATCH_FORGET.

#include <algorithm>
#include <array>

#include "fuse/session/ops.h"

namespace gofer::fuse {

ErrnoOr<void> OnLookup(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const absl::string_view name, OrEinval(DecodeName("LOOKUP", call.args)));
  ASSIGN_OR_RETURN(const DirAndName at, NameIn(connection, call.header.nodeid, name));
  ErrnoOr<fs::Entry> entry = connection.filesystem().LookupUnopened(*at.dir, at.name);
  if (!entry.ok()) {
    if (!(entry.error() == ENOENT) || !connection.cache().negative) return entry.error();
    // No node, but for how long that is true.
    EntryOut missing = {};
    missing.entry_valid = connection.cache().valid_s;
    call.reply.Write(missing);
    return {};
  }
  ASSIGN_OR_RETURN(const EntryOut out, NewEntry(connection, *at.dir, *std::move(entry)));
  call.reply.Write(out);
  return {};
}

ErrnoOr<void> OnForget(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const ForgetIn in, OrEinval(DecodeFixed<ForgetIn>("FORGET", call.args)));
  connection.nodes().Forget(call.header.nodeid, in.nlookup);
  return {};
}

ErrnoOr<void> OnBatchForget(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const BatchForgetIn in,
                   OrEinval(DecodeFixed<BatchForgetIn>("BATCH_FORGET", call.args)));
  if (in.count > call.data_size / sizeof(ForgetOne)) return Errno(EINVAL);
  std::array<ForgetOne, 64> batch;
  for (size_t left = in.count; left > 0;) {
    const auto taken = std::span(batch).first(std::min(left, batch.size()));
    call.data.CopyOut(std::as_writable_bytes(taken));
    for (const ForgetOne& one : taken) connection.nodes().Forget(one.nodeid, one.nlookup);
    left -= taken.size();
  }
  return {};
}

}  // namespace gofer::fuse
