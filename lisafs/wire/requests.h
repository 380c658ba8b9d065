// What a LISAFS client sends, decoded from a private copy and encoded for the client library.
//
// A decoded request is a value whose string_views point into the buffer it was decoded from.
// Decoders accept and ignore bytes after the last part, and ignore padding, as the reference does;
// a payload that is shorter than its parts say is an error, which Dispatch answers as EIO. Names
// are not checked here: the order in which the peer sees errors (spec/lisafs.md s.4.3) wants that
// after the decoding, see gofer::Name.
//
// Fixed-size requests are the structs of structs.h; DecodeFixed and EncodeFixed serve them.
//
// Owner: views do not own. Errors: kInvalidArgument, naming the message and the sizes.
// Source: spec/lisafs.md s.3.2, s.5.

#ifndef LISAFS_WIRE_REQUESTS_H_
#define LISAFS_WIRE_REQUESTS_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/byte_reader.h"
#include "gofer/base/byte_writer.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

using Payload = std::span<const std::byte>;

template <gofer::WireStruct T>
absl::StatusOr<T> DecodeFixed(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  const T value = reader.Read<T>();
  return std::move(reader).FinishPrefix(value);
}

template <gofer::WireStruct T>
void EncodeFixed(const T& value, gofer::ByteWriter& writer) {
  writer.Write(value);
}

// A string: u16 length and bytes. Strings longer than 65535 bytes cannot be said: the writer fails.
absl::string_view ReadString(gofer::ByteReader& reader);
void WriteString(absl::string_view bytes, gofer::ByteWriter& writer);

// An array of strings, checked whole when it is read and walked in place: no allocation however
// long it is.
class StringArray {
 public:
  class Iterator {
   public:
    using value_type = absl::string_view;
    using difference_type = std::ptrdiff_t;

    Iterator(const char* at, size_t left) : at_(at), left_(left) {}
    absl::string_view operator*() const;
    Iterator& operator++();
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.left_ == b.left_; }

   private:
    const char* at_;
    size_t left_;
  };

  StringArray() = default;
  static StringArray Read(gofer::ByteReader& reader);

  size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  Iterator begin() const { return Iterator(bytes_.data(), count_); }
  Iterator end() const { return Iterator(nullptr, 0); }

 private:
  size_t count_ = 0;
  absl::string_view bytes_;
};
void WriteStrings(std::span<const absl::string_view> strings, gofer::ByteWriter& writer);

// An array of ids, walked in place.
class FdIdArray {
 public:
  FdIdArray() = default;
  static FdIdArray Read(gofer::ByteReader& reader);

  size_t size() const { return bytes_.size() / sizeof(FdId); }
  FdId operator[](size_t index) const;

 private:
  Payload bytes_;
};
void WriteFdIds(std::span<const FdId> ids, gofer::ByteWriter& writer);

// Close and FSync.
absl::StatusOr<FdIdArray> DecodeFdIdArray(absl::string_view message, Payload payload);

// Walk and WalkStat.
struct WalkReq {
  FdId dir_fd;
  StringArray path;
};
absl::StatusOr<WalkReq> DecodeWalkReq(absl::string_view message, Payload payload);
void EncodeWalkReq(FdId dir_fd, std::span<const absl::string_view> path, gofer::ByteWriter& writer);

// A fixed part and one name.
template <gofer::WireStruct Fixed>
struct NamedReq {
  Fixed fixed;
  absl::string_view name;
};
using OpenCreateAtReq = NamedReq<OpenCreateAtReqFixed>;
using MkdirAtReq = NamedReq<CreateCommon>;
using MknodAtReq = NamedReq<MknodAtReqFixed>;
using LinkAtReq = NamedReq<LinkAtReqFixed>;
using UnlinkAtReq = NamedReq<UnlinkAtReqFixed>;
using FGetXattrReq = NamedReq<FGetXattrReqFixed>;
using FRemoveXattrReq = NamedReq<FRemoveXattrReqFixed>;
using BindAtReq = NamedReq<BindAtReqFixed>;

template <gofer::WireStruct Fixed>
absl::StatusOr<NamedReq<Fixed>> DecodeNamed(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  NamedReq<Fixed> request;
  request.fixed = reader.Read<Fixed>();
  request.name = ReadString(reader);
  return std::move(reader).FinishPrefix(request);
}

template <gofer::WireStruct Fixed>
void EncodeNamed(const NamedReq<Fixed>& request, gofer::ByteWriter& writer) {
  writer.Write(request.fixed);
  WriteString(request.name, writer);
}

// A fixed part and two strings: name and target, old and new name, name and value.
template <gofer::WireStruct Fixed>
struct PairReq {
  Fixed fixed;
  absl::string_view first;
  absl::string_view second;
};
using SymlinkAtReq = PairReq<SymlinkAtReqFixed>;  // name, then target
using RenameAtReq = PairReq<RenameAtReqFixed>;    // old name, then new name
using FSetXattrReq = PairReq<FSetXattrReqFixed>;  // name, then value

template <gofer::WireStruct Fixed>
absl::StatusOr<PairReq<Fixed>> DecodePair(absl::string_view message, Payload payload) {
  gofer::ByteReader reader(message, payload);
  PairReq<Fixed> request;
  request.fixed = reader.Read<Fixed>();
  request.first = ReadString(reader);
  request.second = ReadString(reader);
  return std::move(reader).FinishPrefix(request);
}

template <gofer::WireStruct Fixed>
void EncodePair(const PairReq<Fixed>& request, gofer::ByteWriter& writer) {
  writer.Write(request.fixed);
  WriteString(request.first, writer);
  WriteString(request.second, writer);
}

struct RenameAt2Req {
  RenameAtReq rename;
  uint32_t flags;  // after the strings
};
absl::StatusOr<RenameAt2Req> DecodeRenameAt2Req(Payload payload);
void EncodeRenameAt2Req(const RenameAt2Req& request, gofer::ByteWriter& writer);

}  // namespace lisafs

#endif  // LISAFS_WIRE_REQUESTS_H_
