// PRead, PWrite, FSync, FAllocate.

#include "lisafs/server/handlers.h"
#include "lisafs/wire/responses.h"

namespace lisafs {

ErrnoOr<void> OnPRead(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const PReadReq request, OrEio(DecodeFixed<PReadReq>("PRead", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<OpenFd> file, connection.fds().Open(request.fd));
  if (!file->readable()) return Errno(EBADF);
  if (request.count > kMaxReadBytes) return Errno(ENOBUFS);
  // The data goes from the host file straight to its place in the reply.
  const std::span<std::byte> data = call.body.tail().subspan(sizeof(PReadRespFixed), request.count);
  ASSIGN_OR_RETURN(const size_t size, connection.filesystem().Read(*file, data, request.offset));
  call.body.Write(PReadRespFixed{size});
  call.body.Advance(size);
  return {};
}

ErrnoOr<void> OnPWrite(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const PWriteReqFixed request,
                   OrEio(DecodeFixed<PWriteReqFixed>("PWrite", call.payload)));
  if (request.num_bytes > call.bulk.size()) return Errno(EIO);
  ASSIGN_OR_RETURN(const RefPtr<OpenFd> file, connection.fds().Open(request.fd));
  if (!file->writable()) return Errno(EBADF);
  ASSIGN_OR_RETURN(
      const size_t size,
      connection.filesystem().Write(*file, call.bulk.first(request.num_bytes), request.offset));
  call.body.Write(PWriteResp{size});
  return {};
}

ErrnoOr<void> OnFSync(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FdIdArray ids, OrEio(DecodeFdIdArray("FSync", call.payload)));
  // All are tried, whatever happens to one; the first error is told.
  ErrnoOr<void> first_error;
  const auto sync = [&](FdId id) -> ErrnoOr<void> {
    ASSIGN_OR_RETURN(const RefPtr<OpenFd> file, connection.fds().Open(id));
    return connection.filesystem().Sync(*file);
  };
  for (size_t i = 0; i < ids.size(); ++i) {
    const ErrnoOr<void> result = sync(ids[i]);
    if (!result.ok() && first_error.ok()) first_error = result.error();
  }
  return first_error;
}

ErrnoOr<void> OnFAllocate(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FAllocateReq request,
                   OrEio(DecodeFixed<FAllocateReq>("FAllocate", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<OpenFd> file, connection.fds().Open(request.fd));
  if (!file->writable()) return Errno(EBADF);
  if (request.mode != 0) return Errno(EOPNOTSUPP);  // the only mode that a sentry sends
  return connection.filesystem().Allocate(*file, 0, request.offset, request.length);
}

}  // namespace lisafs
