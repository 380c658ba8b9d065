#include "checkpoint/shape.h"

#include <algorithm>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/codec.h"
#include "gofer/base/status_macros.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"

namespace gofer::checkpoint {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;

constexpr size_t kMaxClients = 1024;
// Several clients may have ids of one name, and one client several.
constexpr size_t kMaxIds = 4 * kMaxNodes;

constexpr Shape kPlain = {"a message", {}};

constexpr ShapeField kInodesFields[] = {
    {1, kMaxNodes, &kPlain},  {2, kMaxNodes, nullptr},  {3, kMaxNodes, nullptr},
    {4, kMaxNodes, nullptr},  {5, kMaxNodes, nullptr},  {6, kMaxNodes, nullptr},
    {7, kMaxNodes, nullptr},  {8, kMaxNodes, nullptr},  {9, kMaxNodes, nullptr},
    {10, kMaxNodes, nullptr}, {11, kMaxNodes, nullptr}, {12, kMaxNodes, nullptr},
    {13, kMaxNodes, nullptr}, {15, kMaxNodes, nullptr}, {16, kMaxNodes, nullptr}};
constexpr Shape kInodes = {"Inodes", kInodesFields};

constexpr ShapeField kDentriesFields[] = {{1, kMaxNodes, nullptr},
                                          {2, kMaxNodes, nullptr},
                                          {3, kMaxNodes, nullptr},
                                          {5, kMaxNodes, nullptr},
                                          {6, kMaxNodes, nullptr}};
constexpr Shape kDentries = {"Dentries", kDentriesFields};

constexpr ShapeField kDeletedFileFields[] = {{5, kMaxNodes, &kPlain}};
constexpr Shape kDeletedFile = {"DeletedFile", kDeletedFileFields};

constexpr ShapeField kFilesystemFields[] = {
    {1, 1, &kInodes}, {2, 1, &kDentries}, {3, kMaxNodes, &kPlain}, {4, kMaxNodes, &kDeletedFile}};
constexpr Shape kFilesystem = {"Filesystem", kFilesystemFields};

constexpr ShapeField kLisafsFields[] = {
    {5, kMaxIds, nullptr}, {6, kMaxIds, nullptr}, {7, kMaxIds, nullptr}, {8, kMaxNodes, &kPlain}};
constexpr Shape kLisafs = {"LisafsConnection", kLisafsFields};

constexpr ShapeField kFuseFields[] = {{8, kMaxIds, nullptr},  {9, kMaxIds, nullptr},
                                      {10, kMaxIds, nullptr}, {11, kMaxIds, nullptr},
                                      {12, kMaxIds, nullptr}, {13, kMaxIds, nullptr},
                                      {14, kMaxIds, nullptr}, {15, kMaxNodes, &kPlain}};
constexpr Shape kFuse = {"FuseSession", kFuseFields};

// A message that there is one of would be merged from several, and their columns add up.
constexpr ShapeField kImageFields[] = {
    {1, 1, &kPlain}, {2, 1, &kFilesystem}, {3, kMaxClients, &kLisafs}, {4, kMaxClients, &kFuse}};
constexpr Shape kImage = {"Image", kImageFields};

// Of the numbers in a column each ends with a byte whose highest bit is clear.
size_t CountNumbers(absl::string_view column) {
  return static_cast<size_t>(std::count_if(column.begin(), column.end(), [](char byte) {
    return (static_cast<uint8_t>(byte) & 0x80) == 0;
  }));
}

class Counter {
 public:
  // As deep as the shapes are, whatever the payload says.
  absl::Status Check(const Shape& shape, absl::string_view bytes) {
    CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                        static_cast<int>(bytes.size()));
    while (const uint32_t tag = in.ReadTag()) {
      const ShapeField* const field = shape.Find(WireFormatLite::GetTagFieldNumber(tag));
      RETURN_IF_ERROR(CheckField(shape, field, tag, bytes, in));
    }
    return in.ConsumedEntireMessage() ? absl::OkStatus() : Torn(shape);
  }

 private:
  absl::Status CheckField(const Shape& shape, const ShapeField* field, uint32_t tag,
                          absl::string_view bytes, CodedInputStream& in) {
    uint64_t number;
    uint32_t size;
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT:
        if (!in.ReadVarint64(&number)) return Torn(shape);
        return field == nullptr ? absl::OkStatus() : Count(shape, *field, 1);
      case WireFormatLite::WIRETYPE_FIXED64:
        return in.Skip(sizeof(uint64_t)) ? absl::OkStatus() : Torn(shape);
      case WireFormatLite::WIRETYPE_FIXED32:
        return in.Skip(sizeof(uint32_t)) ? absl::OkStatus() : Torn(shape);
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        break;
      default:  // groups, which nobody writes and which nest
        return Torn(shape);
    }
    if (!in.ReadVarint32(&size)) return Torn(shape);
    const auto at = static_cast<size_t>(in.CurrentPosition());
    if (size > bytes.size() - at || !in.Skip(static_cast<int>(size))) return Torn(shape);
    if (field == nullptr) return absl::OkStatus();
    const absl::string_view content = bytes.substr(at, size);
    if (field->message == nullptr) return Count(shape, *field, CountNumbers(content));
    RETURN_IF_ERROR(Count(shape, *field, 1));
    return Check(*field->message, content);
  }

  absl::Status Count(const Shape& shape, const ShapeField& field, size_t elements) {
    size_t& count = counts_[&field];
    if (elements <= field.limit - count) {
      count += elements;
      return absl::OkStatus();
    }
    return absl::DataLossError(absl::StrCat("image: ", shape.name, " has more than ", field.limit,
                                            " elements of field ", field.number,
                                            ", which is the limit"));
  }
  static absl::Status Torn(const Shape& shape) {
    return absl::DataLossError(absl::StrCat("image: a part of it is no message ", shape.name));
  }

  absl::flat_hash_map<const ShapeField*, size_t> counts_;
};

}  // namespace

const ShapeField* Shape::Find(int number) const {
  const auto found = std::find_if(fields.begin(), fields.end(), [number](const ShapeField& field) {
    return field.number == number;
  });
  return found == fields.end() ? nullptr : &*found;
}

const Shape& ImageShape() { return kImage; }

absl::Status CheckShape(absl::string_view payload) { return Counter().Check(kImage, payload); }

}  // namespace gofer::checkpoint
