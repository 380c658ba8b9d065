// GETLK, SETLK, SETLKW, INTERRUPT.

#include <fcntl.h>

#include "fuse/session/ops.h"

namespace gofer::fuse {
namespace {

struct LockRequest {
  LkIn in;
  OpenFile file;
  fs::LockRange range;
  bool flock;
};

// ENOSYS for a kind of lock that the options leave to the client.
ErrnoOr<LockRequest> Take(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const LkIn in, OrEinval(DecodeFixed<LkIn>("LK", call.args)));
  const bool flock = (in.lk_flags & kLkFlock) != 0;
  const SessionOptions& options = connection.options();
  if (!(flock ? options.flock_locks : options.posix_locks)) return call.Unsupported();
  ASSIGN_OR_RETURN(OpenFile file, FileOf(connection, call, in.fh));
  if (in.lk.type != F_RDLCK && in.lk.type != F_WRLCK && in.lk.type != F_UNLCK) {
    return Errno(EINVAL);
  }
  if (in.lk.end > kLockToEnd || in.lk.start > in.lk.end) return Errno(EINVAL);
  return LockRequest{
      .in = in,
      .file = std::move(file),
      .range = {.type = static_cast<short>(in.lk.type), .start = in.lk.start, .end = in.lk.end},
      .flock = flock};
}

ErrnoOr<void> Try(Connection& connection, fs::Handle& handle, uint64_t owner,
                  const fs::LockRange& range, bool flock) {
  ErrnoOr<void> result;
  if (flock) {
    result = connection.filesystem().FLock(handle, range.type);
  } else {
    // What the client's own file may be locked for.
    if (range.type == F_RDLCK && !handle.readable()) return Errno(EBADF);
    if (range.type == F_WRLCK && !handle.writable()) return Errno(EBADF);
    result = connection.SetLock(handle.dentry(), owner, range);
  }
  // Less may be locked now: also by a lock that became one for reading.
  if (result.ok() && range.type != F_WRLCK) connection.waiter().Kick();
  return result;
}

}  // namespace

ErrnoOr<void> OnGetlk(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const LockRequest request, Take(connection, call));
  if (request.flock) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const fs::LockRange found, connection.TestLock(request.file.handle->dentry(),
                                                                  request.in.owner, request.range));
  call.reply.Write(LkOut{.lk = {.start = found.start,
                                .end = found.end,
                                .type = static_cast<uint32_t>(found.type),
                                .pid = 0}});  // it may not be a process of the client
  return {};
}

ErrnoOr<void> OnSetlk(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const LockRequest request, Take(connection, call));
  return Try(connection, *request.file.handle, request.in.owner, request.range, request.flock);
}

ErrnoOr<void> OnSetlkw(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(LockRequest request, Take(connection, call));
  const uint64_t owner = request.in.owner;
  const bool flock = request.flock;
  const fs::LockRange range = request.range;
  const RefPtr<fs::Handle> handle = request.file.handle;
  const ErrnoOr<void> now = Try(connection, *handle, owner, range, flock);
  if (now.ok() || !(now.error() == EAGAIN)) return now;
  RETURN_IF_ERROR(connection.waiter().Add(
      {.request = &call.request,
       .unique = call.header.unique,
       .begun = call.begun,
       .owner = owner,
       .flock = flock,
       .handle = handle,
       .attempt = [connection = RefPtr<Connection>(&connection), handle, owner, range, flock] {
         return Try(*connection, *handle, owner, range, flock);
       }}));
  return call.Deferred();
}

ErrnoOr<void> OnInterrupt(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const InterruptIn in,
                   OrEinval(DecodeFixed<InterruptIn>("INTERRUPT", call.args)));
  connection.waiter().Cancel(
      [&](const LockWaiter::Waiting& waiting) { return waiting.unique == in.unique; });
  return {};
}

}  // namespace gofer::fuse
