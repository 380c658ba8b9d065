// FGetXattr, FSetXattr, FListXattr, FRemoveXattr.

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>

#include "lisafs/server/handlers.h"

namespace lisafs {
namespace {

// The kernel's limits on one value and on a list of names.
constexpr size_t kMaxXattrBytes = 65536;

// 0 asks for whatever there is; more than the kernel gives is no more than that.
size_t BufferSize(uint64_t asked) {
  return asked == 0 || asked > kMaxXattrBytes ? kMaxXattrBytes : asked;
}

ErrnoOr<RefPtr<ControlFd>> LiveFile(const Connection& connection, FdId id) {
  ASSIGN_OR_RETURN(RefPtr<ControlFd> file, connection.fds().Control(id));
  if (file->deleted()) return Errno(EINVAL);
  return file;
}

}  // namespace

ErrnoOr<void> OnFGetXattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FGetXattrReq request,
                   OrEio(DecodeNamed<FGetXattrReqFixed>("FGetXattr", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, LiveFile(connection, request.fixed.fd));
  // Not in place: the string's length stands before it, and is known after it.
  const size_t capacity = BufferSize(request.fixed.buf_size);
  const auto value = std::make_unique<std::byte[]>(capacity);
  ASSIGN_OR_RETURN(const size_t size, connection.filesystem().GetXattr(
                                          *file, request.name, std::span(value.get(), capacity)));
  if (size > UINT16_MAX)
    return Errno(E2BIG);  // the host's longest value is one more than a string can say
  WriteString(absl::string_view(reinterpret_cast<const char*>(value.get()), size), call.body);
  return {};
}

ErrnoOr<void> OnFSetXattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FSetXattrReq request,
                   OrEio(DecodePair<FSetXattrReqFixed>("FSetXattr", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, LiveFile(connection, request.fixed.fd));
  return connection.filesystem().SetXattr(
      *file, request.first, std::as_bytes(std::span(request.second.data(), request.second.size())),
      static_cast<int>(request.fixed.flags));
}

ErrnoOr<void> OnFListXattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FListXattrReq request,
                   OrEio(DecodeFixed<FListXattrReq>("FListXattr", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, connection.fds().Control(request.fd));
  uint16_t count = 0;
  call.body.Write(count);          // patched below
  if (file->deleted()) return {};  // what every release answers, though it means EINVAL
  const auto names = std::make_unique<char[]>(kMaxXattrBytes);
  ASSIGN_OR_RETURN(const size_t size, connection.filesystem().ListXattr(
                                          *file, std::span(names.get(), kMaxXattrBytes)));
  // Judged by what is shown, not by what the host has.
  if (size > BufferSize(request.size)) return Errno(ERANGE);
  for (size_t at = 0; at < size; ++count) {
    const absl::string_view name(names.get() + at);
    WriteString(name, call.body);
    at += name.size() + 1;
  }
  call.body.Patch(0, count);
  return {};
}

ErrnoOr<void> OnFRemoveXattr(Connection& connection, Call& call) {
  ASSIGN_OR_RETURN(const FRemoveXattrReq request,
                   OrEio(DecodeNamed<FRemoveXattrReqFixed>("FRemoveXattr", call.payload)));
  ASSIGN_OR_RETURN(const RefPtr<ControlFd> file, LiveFile(connection, request.fixed.fd));
  return connection.filesystem().RemoveXattr(*file, request.name);
}

}  // namespace lisafs
