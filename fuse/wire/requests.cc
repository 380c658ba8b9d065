#include "fuse/wire/requests.h"

namespace gofer::fuse {
namespace {

constexpr size_t kExtAlignment = 8;

void ReadContexts(ByteReader& block, uint32_t count, Extensions& extensions) {
  if (count > 1) return block.Fail();  // no client sends more, and which would be the label?
  if (count == 0) return;
  const uint32_t size = block.Read<SecurityContext>().size;
  extensions.context_name = block.ReadTerminated();
  extensions.context_value = block.ReadSpan(size);
  if (extensions.context_name.empty()) block.Fail();
}

void ReadGroups(ByteReader& block, Extensions& extensions) {
  const uint32_t count = block.Read<uint32_t>();
  if (count > 1) return block.Fail();
  if (count == 1) extensions.group = block.Read<uint32_t>();
}

}  // namespace

absl::StatusOr<InitReq> DecodeInit(Payload payload) {
  ByteReader reader("INIT", payload);
  InitReq request;
  request.fixed = reader.Read<InitIn>();
  request.flags = request.fixed.flags;
  if ((request.flags & init::kExt) != 0) {
    request.flags |= uint64_t{reader.Read<InitExtIn>().flags2} << 32;
  }
  return std::move(reader).FinishPrefix(request);
}

absl::StatusOr<absl::string_view> DecodeName(absl::string_view message, Payload payload) {
  ByteReader reader(message, payload);
  const absl::string_view name = reader.ReadTerminated();
  return std::move(reader).FinishExact(name);
}

Extensions Extensions::Read(ByteReader& reader, uint16_t total_extlen) {
  Extensions extensions;
  if (total_extlen != 0 && reader.remaining() != total_extlen * kExtAlignment) reader.Fail();
  uint32_t seen = 0;  // one bit for the contexts, one for the groups: none comes twice
  while (reader.ok() && reader.remaining() > 0) {
    const auto header = reader.Read<ExtHeader>();
    if (header.size < sizeof(header) || header.size % kExtAlignment != 0) {
      reader.Fail();
      break;
    }
    ByteReader block("extension", reader.ReadSpan(header.size - sizeof(header)));
    const bool groups = header.type == kExtGroups;
    const uint32_t bit = groups ? 2 : 1;
    if (header.type > kExtGroups || (seen & bit) != 0) block.Fail();
    seen |= bit;
    if (groups) {
      ReadGroups(block, extensions);
    } else {
      ReadContexts(block, header.type, extensions);
    }
    if (!block.ok()) reader.Fail();
  }
  return reader.ok() ? extensions : Extensions();
}

absl::StatusOr<SymlinkReq> DecodeSymlink(Payload payload, uint16_t total_extlen) {
  ByteReader reader("SYMLINK", payload);
  SymlinkReq request;
  request.name = reader.ReadTerminated();
  request.target = reader.ReadTerminated();
  request.extensions = Extensions::Read(reader, total_extlen);
  return std::move(reader).FinishExact(request);
}

absl::StatusOr<SetxattrReq> DecodeSetxattr(Payload payload, bool setxattr_ext) {
  ByteReader reader("SETXATTR", payload);
  SetxattrReq request = {};
  request.fixed = reader.Read<SetxattrIn>();
  if (setxattr_ext) request.ext = reader.Read<SetxattrExtIn>();
  request.name = reader.ReadTerminated();
  request.value = reader.ReadSpan(request.fixed.size);
  return std::move(reader).FinishExact(request);
}

absl::StatusOr<IoctlReq> DecodeIoctl(Payload payload) {
  ByteReader reader("IOCTL", payload);
  IoctlReq request;
  request.fixed = reader.Read<IoctlIn>();
  request.data = reader.ReadSpan(request.fixed.in_size);
  return std::move(reader).FinishPrefix(request);
}

}  // namespace gofer::fuse
