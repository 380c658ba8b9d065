#include "test/checkpoint/wire_tree.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "checkpoint/shape.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"

namespace gofer::testing {
namespace {

using checkpoint::Shape;
using checkpoint::ShapeField;
using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using Kind = WireField::Kind;

constexpr uint64_t kNumbers[] = {
    0,         1, 2, 127, 0x7fffffff, 0x80000000, 0xffffffff, uint64_t{1} << 40, uint64_t{1} << 63,
    UINT64_MAX};

std::optional<WireTree> TakeApart(const Shape* shape, absl::string_view bytes);

std::optional<std::vector<uint64_t>> TakeColumn(absl::string_view bytes) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  std::vector<uint64_t> column;
  while (static_cast<size_t>(in.CurrentPosition()) < bytes.size()) {
    if (!in.ReadVarint64(&column.emplace_back())) return std::nullopt;
  }
  return column;
}

std::optional<WireField> TakeSized(const ShapeField* field, int number, absl::string_view bytes) {
  WireField taken = {.number = number};
  if (field == nullptr) {
    taken.kind = Kind::kBytes;
    taken.bytes = std::string(bytes);
  } else if (field->message == nullptr) {
    std::optional<std::vector<uint64_t>> column = TakeColumn(bytes);
    if (!column.has_value()) return std::nullopt;
    taken.kind = Kind::kColumn;
    taken.column = *std::move(column);
  } else {
    std::optional<WireTree> fields = TakeApart(field->message, bytes);
    if (!fields.has_value()) return std::nullopt;
    taken.kind = Kind::kMessage;
    taken.fields = *std::move(fields);
  }
  return taken;
}

// As deep as the shapes are.
std::optional<WireTree> TakeApart(const Shape* shape, absl::string_view bytes) {
  CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()),
                      static_cast<int>(bytes.size()));
  WireTree tree;
  while (const uint32_t tag = in.ReadTag()) {
    const int number = WireFormatLite::GetTagFieldNumber(tag);
    if (WireFormatLite::GetTagWireType(tag) == WireFormatLite::WIRETYPE_VARINT) {
      WireField& field = tree.emplace_back(WireField{.number = number});
      if (!in.ReadVarint64(&field.value)) return std::nullopt;
      continue;
    }
    uint32_t size;
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED ||
        !in.ReadVarint32(&size)) {
      return std::nullopt;
    }
    const auto at = static_cast<size_t>(in.CurrentPosition());
    if (size > bytes.size() - at || !in.Skip(static_cast<int>(size))) return std::nullopt;
    std::optional<WireField> field = TakeSized(shape->Find(number), number, bytes.substr(at, size));
    if (!field.has_value()) return std::nullopt;
    tree.push_back(*std::move(field));
  }
  if (!in.ConsumedEntireMessage()) return std::nullopt;
  return tree;
}

void AppendNumber(uint64_t value, std::string& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

void AppendField(const WireField& field, std::string& out) {
  const bool is_sized = field.kind != Kind::kNumber;
  AppendNumber(
      static_cast<uint64_t>(field.number) << 3 |
          (is_sized ? WireFormatLite::WIRETYPE_LENGTH_DELIMITED : WireFormatLite::WIRETYPE_VARINT),
      out);
  if (!is_sized) return AppendNumber(field.value, out);
  std::string content = field.bytes;
  for (const uint64_t number : field.column) AppendNumber(number, content);
  for (const WireField& below : field.fields) AppendField(below, content);
  AppendNumber(content.size(), out);
  out += content;
}

// Goes through a tree, changes one thing after the other, and puts it back.
class Changer {
 public:
  using Visit = absl::FunctionRef<void(const WireTree& changed, const std::string& what)>;

  Changer(const WireTree& tree, Visit visit) : tree_(tree), visit_(visit) { ChangeAll(tree_, ""); }

 private:
  void ChangeAll(WireTree& level, const std::string& where) {
    for (size_t i = 0; i < level.size(); ++i) {
      const std::string here = absl::StrCat(where, "/", level[i].number);
      WireField kept = level[i];
      level.erase(level.begin() + static_cast<ptrdiff_t>(i));
      visit_(tree_, here + " gone");
      level.insert(level.begin() + static_cast<ptrdiff_t>(i), 2, kept);
      visit_(tree_, here + " twice");
      level.erase(level.begin() + static_cast<ptrdiff_t>(i));
      ChangeContent(level[i], here);
      ChangeAll(level[i].fields, here);
    }
  }

  template <typename T>
  void Try(T& place, T value, const std::string& what) {
    std::swap(place, value);
    visit_(tree_, what);
    std::swap(place, value);
  }

  void ChangeContent(WireField& field, const std::string& here) {
    switch (field.kind) {
      case Kind::kNumber:
        for (const uint64_t number : kNumbers) {
          Try(field.value, number, absl::StrCat(here, " = ", number));
        }
        return;
      case Kind::kBytes:
        for (const std::string& bytes :
             {std::string(), field.bytes + "x", field.bytes.substr(0, field.bytes.size() / 2),
              std::string("../../etc/passwd"), std::string(3, '\0'), std::string(5000, '/')}) {
          Try(field.bytes, bytes, absl::StrCat(here, " of ", bytes.size(), " bytes"));
        }
        return;
      case Kind::kColumn:
        return ChangeColumn(field.column, here);
      case Kind::kMessage:
        return;
    }
  }

  void ChangeColumn(std::vector<uint64_t>& column, const std::string& here) {
    std::vector<uint64_t> other = column;
    other.push_back(other.empty() ? 0 : other.back());
    Try(column, other, here + " longer");
    if (column.empty()) return;
    other = column;
    other.pop_back();
    Try(column, other, here + " shorter");
    other = column;
    std::reverse(other.begin(), other.end());
    Try(column, other, here + " backwards");
    for (size_t i = 0; i < column.size(); ++i) {
      for (const uint64_t number : kNumbers) {
        Try(column[i], number, absl::StrCat(here, "[", i, "] = ", number));
      }
    }
  }

  WireTree tree_;
  const Visit visit_;
};

uint64_t SomeNumber(uint64_t now, std::mt19937& random) {
  switch (random() % 4) {
    case 0:
      return now + 1;
    case 1:
      return now - 1;
    case 2:
      return kNumbers[random() % std::size(kNumbers)];
    default:
      return random() % 16;
  }
}

void ChangeColumn(std::vector<uint64_t>& column, std::mt19937& random) {
  if (column.empty() || random() % 8 == 0) {
    column.push_back(random() % 16);
  } else if (random() % 8 == 0) {
    column.pop_back();
  } else {
    uint64_t& number = column[random() % column.size()];
    number = SomeNumber(number, random);
  }
}

void ChangeBytes(std::string& bytes, std::mt19937& random) {
  const size_t at = random() % (bytes.size() + 1);
  if (at == bytes.size() || random() % 4 == 0) {
    bytes.insert(at, 1, static_cast<char>(random()));
  } else if (random() % 4 == 0) {
    bytes.erase(at, 1);
  } else {
    bytes[at] = static_cast<char>(random());
  }
}

}  // namespace

std::optional<WireTree> TakeApart(absl::string_view payload) {
  return TakeApart(&checkpoint::ImageShape(), payload);
}

std::string PutTogether(const WireTree& tree) {
  std::string payload;
  for (const WireField& field : tree) AppendField(field, payload);
  return payload;
}

void ForEachChange(const WireTree& tree,
                   absl::FunctionRef<void(const WireTree&, const std::string&)> visit) {
  Changer(tree, visit);
}

void ChangeSomething(WireTree& tree, std::mt19937& random) {
  WireTree* level = &tree;
  while (!level->empty()) {
    const size_t at = random() % level->size();
    WireField& field = (*level)[at];
    if (random() % 16 == 0) {
      level->erase(level->begin() + static_cast<ptrdiff_t>(at));
      return;
    }
    if (random() % 16 == 0) {
      const WireField copy = field;
      level->push_back(copy);
      return;
    }
    switch (field.kind) {
      case Kind::kNumber:
        field.value = SomeNumber(field.value, random);
        return;
      case Kind::kBytes:
        return ChangeBytes(field.bytes, random);
      case Kind::kColumn:
        return ChangeColumn(field.column, random);
      case Kind::kMessage:
        level = &field.fields;
        break;
    }
  }
}

}  // namespace gofer::testing
