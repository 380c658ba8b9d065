#include "lisafs/wire/responses.h"

#include <utility>

namespace lisafs {
namespace {

// Reads a u16 count and so many elements. The count is held against what is left before anything is
// reserved.
template <gofer::WireStruct T>
std::vector<T> ReadArray(gofer::ByteReader& reader) {
  const size_t count = reader.Read<uint16_t>();
  std::vector<T> result;
  if (count > reader.remaining() / sizeof(T)) {
    reader.Fail();
    return result;
  }
  result.reserve(count);
  for (size_t i = 0; i < count; ++i) result.push_back(reader.Read<T>());
  return result;
}

template <gofer::WireStruct T>
void WriteArray(const std::vector<T>& values, gofer::ByteWriter& writer) {
  if (values.size() > UINT16_MAX) {
    writer.Advance(SIZE_MAX);
    return;
  }
  writer.Write(static_cast<uint16_t>(values.size()));
  for (const T& value : values) writer.Write(value);
}

}  // namespace

absl::StatusOr<MountResp> DecodeMountResp(Payload payload) {
  gofer::ByteReader reader("Mount reply", payload);
  MountResp response;
  response.root = reader.Read<Inode>();
  response.max_message_size = reader.Read<uint32_t>();
  response.supported = ReadArray<MessageId>(reader);
  return std::move(reader).FinishPrefix(std::move(response));
}

void EncodeMountResp(const MountResp& response, gofer::ByteWriter& writer) {
  writer.Write(response.root);
  writer.Write(response.max_message_size);
  WriteArray(response.supported, writer);
}

absl::StatusOr<WalkResp> DecodeWalkResp(Payload payload) {
  gofer::ByteReader reader("Walk reply", payload);
  WalkResp response;
  response.status = reader.Read<WalkStatus>();
  response.inodes = ReadArray<Inode>(reader);
  return std::move(reader).FinishPrefix(std::move(response));
}

void EncodeWalkResp(const WalkResp& response, gofer::ByteWriter& writer) {
  writer.Write(response.status);
  WriteArray(response.inodes, writer);
}

absl::StatusOr<std::vector<Statx>> DecodeWalkStatResp(Payload payload) {
  gofer::ByteReader reader("WalkStat reply", payload);
  std::vector<Statx> stats = ReadArray<Statx>(reader);
  return std::move(reader).FinishPrefix(std::move(stats));
}

void EncodeWalkStatResp(const std::vector<Statx>& stats, gofer::ByteWriter& writer) {
  WriteArray(stats, writer);
}

absl::StatusOr<std::vector<Dirent>> DecodeGetdents64Resp(Payload payload) {
  gofer::ByteReader reader("Getdents64 reply", payload);
  const size_t count = reader.Read<uint16_t>();
  std::vector<Dirent> dirents;
  if (count > reader.remaining() / sizeof(Dirent64Fixed)) {
    reader.Fail();
  } else {
    dirents.reserve(count);
  }
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    const auto fixed = reader.Read<Dirent64Fixed>();
    dirents.push_back({.ino = fixed.ino,
                       .dev_minor = fixed.dev_minor,
                       .dev_major = fixed.dev_major,
                       .off = fixed.off,
                       .type = fixed.type,
                       .name = std::string(reader.ReadBytes(fixed.name_len))});
  }
  return std::move(reader).FinishPrefix(std::move(dirents));
}

void EncodeGetdents64Resp(const std::vector<Dirent>& dirents, gofer::ByteWriter& writer) {
  writer.Write(static_cast<uint16_t>(dirents.size()));
  for (const Dirent& dirent : dirents) {
    writer.Write(Dirent64Fixed{.ino = dirent.ino,
                               .dev_minor = dirent.dev_minor,
                               .dev_major = dirent.dev_major,
                               .off = dirent.off,
                               .type = dirent.type,
                               .name_len = static_cast<uint16_t>(dirent.name.size())});
    writer.WriteBytes(dirent.name);
  }
}

absl::StatusOr<std::string> DecodeStringResp(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  std::string value(ReadString(reader));
  return std::move(reader).FinishPrefix(std::move(value));
}

absl::StatusOr<std::vector<std::string>> DecodeStringArrayResp(Payload payload) {
  gofer::ByteReader reader("FListXattr reply", payload);
  const StringArray strings = StringArray::Read(reader);
  std::vector<std::string> values;
  values.reserve(strings.size());
  for (const absl::string_view bytes : strings) values.emplace_back(bytes);
  return std::move(reader).FinishPrefix(std::move(values));
}

absl::StatusOr<absl::string_view> DecodePReadResp(Payload payload) {
  gofer::ByteReader reader("PRead reply", payload);
  const auto fixed = reader.Read<PReadRespFixed>();
  const absl::string_view data = reader.ReadBytes(fixed.num_bytes);
  return std::move(reader).FinishPrefix(data);
}

}  // namespace lisafs
