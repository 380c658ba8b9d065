// What a FUSE client sends after the header, decoded from a private copy.
//
// A decoded request is a value whose string_views point into the buffer it was decoded from.
// Strings end with a NUL. A message of a fixed struct alone may be longer than we know: newer
// clients append fields. One that ends in strings may not: bytes after them that are no extension
// would be a second opinion of what the name is. Names are not checked here, see gofer::Name.
//
// Owner:  views do not own.
// Errors: kInvalidArgument, naming the message and the sizes; Dispatch answers EINVAL.
// Source: linux/fuse.h 7.41; spec/fuse.md s.1, s.4, s.10, s.13.2.

#ifndef FUSE_WIRE_REQUESTS_H_
#define FUSE_WIRE_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"
#include "gofer/base/byte_reader.h"

namespace gofer::fuse {

using Payload = std::span<const std::byte>;

template <WireStruct T>
absl::StatusOr<T> DecodeFixed(absl::string_view message, Payload payload) {
  ByteReader reader(message, payload);
  const T value = reader.Read<T>();
  return std::move(reader).FinishPrefix(value);
}

// INIT, with both words of flags in one; bits from 32 on only with init::kExt.
struct InitReq {
  InitIn fixed;
  uint64_t flags;
};
absl::StatusOr<InitReq> DecodeInit(Payload payload);

// LOOKUP, UNLINK, RMDIR, REMOVEXATTR.
absl::StatusOr<absl::string_view> DecodeName(absl::string_view message, Payload payload);

// A fixed part and one name: LINK, GETXATTR.
template <WireStruct Fixed>
struct NamedReq {
  Fixed fixed;
  absl::string_view name;
};

template <WireStruct Fixed>
absl::StatusOr<NamedReq<Fixed>> DecodeNamed(absl::string_view message, Payload payload) {
  ByteReader reader(message, payload);
  NamedReq<Fixed> request;
  request.fixed = reader.Read<Fixed>();
  request.name = reader.ReadTerminated();
  return std::move(reader).FinishExact(request);
}

// A fixed part and two names, the old and the new: RENAME, RENAME2.
template <WireStruct Fixed>
struct PairReq {
  Fixed fixed;
  absl::string_view first;
  absl::string_view second;
};

template <WireStruct Fixed>
absl::StatusOr<PairReq<Fixed>> DecodePair(absl::string_view message, Payload payload) {
  ByteReader reader(message, payload);
  PairReq<Fixed> request;
  request.fixed = reader.Read<Fixed>();
  request.first = reader.ReadTerminated();
  request.second = reader.ReadTerminated();
  return std::move(reader).FinishExact(request);
}

// What may follow the last name of a request that creates something.
struct Extensions {
  // A label for the new object: at most one, as Linux sends it. No name: no label.
  absl::string_view context_name;
  Payload context_value;
  // The supplementary group of the caller that matters to the parent directory.
  std::optional<uint32_t> group;

  // Takes all that is left. `total_extlen` is the header's, zero from clients that had no such
  // field yet.
  static Extensions Read(ByteReader& reader, uint16_t total_extlen);
};

// MKNOD, MKDIR, CREATE; TMPFILE, whose name is "/" and means nothing.
template <WireStruct Fixed>
struct CreateReq {
  Fixed fixed;
  absl::string_view name;
  Extensions extensions;
};

template <WireStruct Fixed>
absl::StatusOr<CreateReq<Fixed>> DecodeCreate(absl::string_view message, Payload payload,
                                              uint16_t total_extlen) {
  ByteReader reader(message, payload);
  CreateReq<Fixed> request;
  request.fixed = reader.Read<Fixed>();
  request.name = reader.ReadTerminated();
  request.extensions = Extensions::Read(reader, total_extlen);
  return std::move(reader).FinishExact(request);
}

struct SymlinkReq {
  absl::string_view name;
  absl::string_view target;
  Extensions extensions;
};
absl::StatusOr<SymlinkReq> DecodeSymlink(Payload payload, uint16_t total_extlen);

struct SetxattrReq {
  SetxattrIn fixed;
  SetxattrExtIn ext;  // zero unless granted
  absl::string_view name;
  Payload value;
};
// Which size the struct has does not show in the message: it is what INIT has granted.
absl::StatusOr<SetxattrReq> DecodeSetxattr(Payload payload, bool setxattr_ext);

struct IoctlReq {
  IoctlIn fixed;
  Payload data;
};
absl::StatusOr<IoctlReq> DecodeIoctl(Payload payload);

}  // namespace gofer::fuse

#endif  // FUSE_WIRE_REQUESTS_H_
