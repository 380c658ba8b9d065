#include "fuse/session/id_map.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace gofer::fuse {
namespace {

constexpr uint32_t kNoId = std::numeric_limits<uint32_t>::max();

// Bytes beyond ASCII belong to the type as well: as a separator one would cut a character in two.
bool IsOfType(unsigned char byte) {
  return absl::ascii_isalnum(byte) || byte == '-' || byte == '_' || byte >= 0x80;
}

std::optional<uint32_t> ParseId(absl::string_view text) {
  if (text.empty() || !std::all_of(text.begin(), text.end(), absl::ascii_isdigit)) {
    return std::nullopt;
  }
  uint32_t value;
  if (!absl::SimpleAtoi(text, &value)) return std::nullopt;
  return value;
}

struct Rule {
  std::string type;
  std::vector<uint32_t> numbers;
};

absl::StatusOr<Rule> ParseRule(absl::string_view text) {
  const auto separator = std::find_if_not(text.begin(), text.end(), IsOfType);
  Rule rule = {
      .type = absl::AsciiStrToLower(text.substr(0, static_cast<size_t>(separator - text.begin()))),
      .numbers = {}};
  if (separator == text.end()) return rule;
  const absl::string_view fields = text.substr(rule.type.size() + 1);
  for (const absl::string_view field : absl::StrSplit(fields, *separator)) {
    const std::optional<uint32_t> number = ParseId(field);
    if (!number.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", field, "\" is not a number from 0 to ", kNoId));
    }
    rule.numbers.push_back(*number);
  }
  return rule;
}

struct TypeRow {
  absl::string_view name;
  absl::string_view fields;
  size_t count;
};
constexpr TypeRow kTypes[] = {
    {"guest", "guest:host:count", 3},        {"host", "host:guest:count", 3},
    {"squash-guest", "guest:host:count", 3}, {"squash-host", "host:guest:count", 3},
    {"forbid-guest", "guest:count", 2},      {"map", "guest:host:count", 3},
};

absl::Status CheckFields(const Rule& rule) {
  std::string known;
  for (const TypeRow& row : kTypes) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", row.name);
    if (row.name != rule.type) continue;
    if (row.count == rule.numbers.size()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(row.name, " takes ", row.count, " numbers (",
                                                   row.fields, "), not ", rule.numbers.size()));
  }
  return absl::InvalidArgumentError(absl::StrCat("type \"", rule.type, "\" is not one of ", known));
}

// `count` ids from `first` on end below the id that means none.
absl::Status CheckEnd(absl::string_view whose, uint32_t first, uint32_t count) {
  if (count <= kNoId - first) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(count, " ids of the ", whose, " from ", first, " on go beyond ", kNoId - 1));
}

}  // namespace

const IdMap::Range* IdMap::Find(const Ranges& ranges, uint32_t id) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), id,
                       [](uint32_t wanted, const Range& range) { return wanted < range.first; });
  if (after == ranges.begin()) return nullptr;
  const Range& range = *(after - 1);
  return id < range.end ? &range : nullptr;
}

bool IdMap::Overlaps(const Ranges& ranges, const Range& range) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const Range& other) {
    return range.first < other.end && other.first < range.end;
  });
}

void IdMap::Insert(Ranges& ranges, const Range& range) {
  const auto at =
      std::upper_bound(ranges.begin(), ranges.end(), range.first,
                       [](uint32_t first, const Range& other) { return first < other.first; });
  ranges.insert(at, range);
}

absl::Status IdMap::Add(absl::string_view text) {
  const auto invalid = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("rule \"", text, "\": ", why));
  };
  const absl::StatusOr<Rule> parsed = ParseRule(text);
  if (!parsed.ok()) return invalid(parsed.status().message());
  const Rule& rule = *parsed;
  if (const absl::Status checked = CheckFields(rule); !checked.ok()) {
    return invalid(checked.message());
  }

  const bool from_host = rule.type == "host" || rule.type == "squash-host";
  const bool forbid = rule.type == "forbid-guest";
  const bool squash = rule.type == "squash-guest" || rule.type == "squash-host";
  const uint32_t source = rule.numbers[0];
  const uint32_t target = forbid ? 0 : rule.numbers[1];
  const uint32_t count = rule.numbers.back();

  absl::Status ends = CheckEnd(from_host ? "host" : "guest", source, count);
  // The one that all are squashed to has to be an id too.
  if (!forbid) ends.Update(CheckEnd(from_host ? "guest" : "host", target, squash ? 1 : count));
  if (!ends.ok()) return invalid(ends.message());
  if (count == 0) return absl::OkStatus();

  const Kind kind = forbid ? Kind::kForbid : squash ? Kind::kSquash : Kind::kShift;
  const Range there = {.first = source, .end = source + count, .target = target, .kind = kind};
  const Range back = {.first = target, .end = target + count, .target = source, .kind = kind};
  const bool both = rule.type == "map";
  Ranges& ranges = from_host ? to_guest_ : to_host_;
  if (Overlaps(ranges, there) || (both && Overlaps(to_guest_, back))) {
    return invalid(absl::StrCat("overlaps an earlier rule for ids of the ",
                                Overlaps(ranges, there) == from_host ? "host" : "guest"));
  }
  Insert(ranges, there);
  if (both) Insert(to_guest_, back);
  return absl::OkStatus();
}

ErrnoOr<uint32_t> IdMap::ToHost(uint32_t guest) const {
  const Range* const range = Find(to_host_, guest);
  if (range == nullptr) return guest;
  switch (range->kind) {
    case Kind::kShift:
      return range->target + (guest - range->first);
    case Kind::kSquash:
      return range->target;
    case Kind::kForbid:
      break;
  }
  return Errno(EPERM);
}

uint32_t IdMap::ToGuest(uint32_t host) const {
  const Range* const range = Find(to_guest_, host);
  if (range == nullptr) return host;
  return range->kind == Kind::kSquash ? range->target : range->target + (host - range->first);
}

}  // namespace gofer::fuse
