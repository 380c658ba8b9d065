#include "lisafs/wire/requests.h"

#include <cstring>
#include <utility>

namespace lisafs {
namespace {

uint16_t LoadU16(const char* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

}  // namespace

absl::string_view ReadString(gofer::ByteReader& reader) {
  return reader.ReadBytes(reader.Read<uint16_t>());
}

void WriteString(absl::string_view bytes, gofer::ByteWriter& writer) {
  if (bytes.size() > UINT16_MAX) {
    writer.Advance(SIZE_MAX);  // cannot be said on this wire
    return;
  }
  writer.Write(static_cast<uint16_t>(bytes.size()));
  writer.WriteBytes(bytes);
}

absl::string_view StringArray::Iterator::operator*() const {
  return absl::string_view(at_ + sizeof(uint16_t), LoadU16(at_));
}

StringArray::Iterator& StringArray::Iterator::operator++() {
  at_ += sizeof(uint16_t) + LoadU16(at_);
  --left_;
  return *this;
}

StringArray StringArray::Read(gofer::ByteReader& reader) {
  StringArray result;
  const size_t count = reader.Read<uint16_t>();
  // Every string takes two bytes at least, so an honest count is bounded by what is left.
  if (count > reader.remaining() / sizeof(uint16_t)) {
    reader.Fail();
    return result;
  }
  const char* begin = nullptr;
  size_t size = 0;
  for (size_t i = 0; i < count && reader.ok(); ++i) {
    const absl::string_view head = reader.ReadBytes(sizeof(uint16_t));
    if (!reader.ok()) break;
    if (begin == nullptr) begin = head.data();
    const absl::string_view body = reader.ReadBytes(LoadU16(head.data()));
    size += head.size() + body.size();
  }
  if (!reader.ok()) return result;
  result.count_ = count;
  result.bytes_ = absl::string_view(begin, size);
  return result;
}

void WriteStrings(std::span<const absl::string_view> strings, gofer::ByteWriter& writer) {
  if (strings.size() > UINT16_MAX) {
    writer.Advance(SIZE_MAX);
    return;
  }
  writer.Write(static_cast<uint16_t>(strings.size()));
  for (const absl::string_view bytes : strings) WriteString(bytes, writer);
}

FdIdArray FdIdArray::Read(gofer::ByteReader& reader) {
  FdIdArray result;
  const size_t count = reader.Read<uint16_t>();
  result.bytes_ = reader.ReadSpan(count * sizeof(FdId));
  return result;
}

FdId FdIdArray::operator[](size_t index) const {
  FdId id;
  std::memcpy(&id, bytes_.data() + index * sizeof(FdId), sizeof(id));
  return id;
}

void WriteFdIds(std::span<const FdId> ids, gofer::ByteWriter& writer) {
  if (ids.size() > UINT16_MAX) {
    writer.Advance(SIZE_MAX);
    return;
  }
  writer.Write(static_cast<uint16_t>(ids.size()));
  for (const FdId id : ids) writer.Write(id);
}

absl::StatusOr<FdIdArray> DecodeFdIdArray(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  const FdIdArray ids = FdIdArray::Read(reader);
  return std::move(reader).FinishPrefix(ids);
}

absl::StatusOr<WalkReq> DecodeWalkReq(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  WalkReq request;
  request.dir_fd = reader.Read<FdId>();
  request.path = StringArray::Read(reader);
  return std::move(reader).FinishPrefix(request);
}

void EncodeWalkReq(FdId dir_fd, std::span<const absl::string_view> path,
                   gofer::ByteWriter& writer) {
  writer.Write(dir_fd);
  WriteStrings(path, writer);
}

absl::StatusOr<RenameAt2Req> DecodeRenameAt2Req(Payload payload) {
  gofer::ByteReader reader("RenameAt2", payload);
  RenameAt2Req request;
  request.rename.fixed = reader.Read<RenameAtReqFixed>();
  request.rename.first = ReadString(reader);
  request.rename.second = ReadString(reader);
  request.flags = reader.Read<uint32_t>();
  return std::move(reader).FinishPrefix(request);
}

void EncodeRenameAt2Req(const RenameAt2Req& request, gofer::ByteWriter& writer) {
  EncodePair(request.rename, writer);
  writer.Write(request.flags);
}

}  // namespace lisafs
