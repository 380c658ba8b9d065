#include "fuse/session/xattr_map.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gofer/base/status_macros.h"

namespace gofer::fuse {

class XattrMap::Parser {
 public:
  explicit Parser(absl::string_view text) : rest_(absl::StripAsciiWhitespace(text)) {}

  absl::StatusOr<XattrMap> Parse() {
    for (int number = 1; !rest_.empty(); ++number) {
      const absl::Status rule = ParseRule();
      if (!rule.ok()) {
        return absl::InvalidArgumentError(absl::StrCat("rule ", number, ": ", rule.message()));
      }
      rest_ = absl::StripLeadingAsciiWhitespace(rest_);
    }
    if (map_.rules_.empty()) return absl::InvalidArgumentError("there is no rule");
    RETURN_IF_ERROR(CheckTerminated());
    return std::move(map_);
  }

 private:
  // Up to the next delimiter, which is consumed.
  absl::StatusOr<std::string> Field(char delimiter, absl::string_view what) {
    const size_t end = rest_.find(delimiter);
    if (end == absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("the ", what, " \"", absl::CHexEscape(rest_), "\" does not end with '",
                       absl::CHexEscape(absl::string_view(&delimiter, 1)), "'"));
    }
    std::string field(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    if (absl::StrContains(field, absl::string_view("\0", 1))) {
      return absl::InvalidArgumentError(absl::StrCat("the ", what, " has a NUL in it"));
    }
    return field;
  }

  absl::Status ParseRule() {
    const char delimiter = rest_.front();
    rest_.remove_prefix(1);
    ASSIGN_OR_RETURN(const std::string type, Field(delimiter, "type"));
    if (type == "map") return ParseMap(delimiter);
    Rule rule = {};
    if (type == "prefix") {
      rule.type = Type::kPrefix;
    } else if (type == "ok") {
      rule.type = Type::kOk;
    } else if (type == "bad") {
      rule.type = Type::kBad;
    } else if (type == "unsupported") {
      rule.type = Type::kUnsupported;
    } else {
      return absl::InvalidArgumentError(absl::StrCat(
          "type \"", absl::CHexEscape(type), "\" is not one of prefix, ok, bad, unsupported, map"));
    }
    ASSIGN_OR_RETURN(const std::string scope, Field(delimiter, "scope"));
    if (scope != "all" && scope != "client" && scope != "server") {
      return absl::InvalidArgumentError(absl::StrCat("scope \"", absl::CHexEscape(scope),
                                                     "\" is not one of all, client, server"));
    }
    rule.client = scope != "server";
    rule.server = scope != "client";
    ASSIGN_OR_RETURN(rule.key, Field(delimiter, "key"));
    ASSIGN_OR_RETURN(rule.prepend, Field(delimiter, "prepend"));
    map_.rules_.push_back(std::move(rule));
    return absl::OkStatus();
  }

  absl::Status ParseMap(char delimiter) {
    ASSIGN_OR_RETURN(const std::string key, Field(delimiter, "key"));
    ASSIGN_OR_RETURN(const std::string prepend, Field(delimiter, "prepend"));
    if (!rest_.empty()) {
      return absl::InvalidArgumentError("a map rule has to be the only one of its type, and last");
    }
    const auto add = [&](Type type, const std::string& of_client, const std::string& of_server) {
      map_.rules_.push_back(
          {.type = type, .client = true, .server = true, .key = of_client, .prepend = of_server});
    };
    add(Type::kPrefix, key, prepend);
    if (!key.empty()) add(Type::kBad, prepend, key);
    add(key.empty() ? Type::kBad : Type::kOk, "", "");
    return absl::OkStatus();
  }

  // Some rule takes whatever name, in both directions.
  absl::Status CheckTerminated() const {
    const auto& rules = map_.rules_;
    const bool client = std::any_of(rules.begin(), rules.end(), [](const Rule& rule) {
      return rule.client && rule.key.empty();
    });
    const bool server = std::any_of(rules.begin(), rules.end(), [](const Rule& rule) {
      return rule.server && rule.prepend.empty();
    });
    if (client && server) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("no rule decides about all other names of the ",
                                                   client ? "host" : "client",
                                                   "; end with :bad:all::: or :ok:all:::"));
  }

  absl::string_view rest_;
  XattrMap map_;
};

absl::StatusOr<XattrMap> XattrMap::Parse(absl::string_view rules) { return Parser(rules).Parse(); }

ErrnoOr<absl::string_view> XattrMap::ToHost(absl::string_view name, Use use, Buffer& buffer) const {
  for (const Rule& rule : rules_) {
    if (!rule.client || !absl::StartsWith(name, rule.key)) continue;
    switch (rule.type) {
      case Type::kOk:
        return name;
      case Type::kBad:
        return Errno(use == Use::kRead ? ENODATA : EPERM);
      case Type::kUnsupported:
        return Errno(EOPNOTSUPP);
      case Type::kPrefix:
        break;
    }
    if (rule.prepend.size() > kMaxName || name.size() > kMaxName - rule.prepend.size()) {
      return Errno(ERANGE);
    }
    std::memcpy(buffer, rule.prepend.data(), rule.prepend.size());
    std::memcpy(buffer + rule.prepend.size(), name.data(), name.size());
    return absl::string_view(buffer, rule.prepend.size() + name.size());
  }
  return name;  // there are no rules: a map that has some decides about every name
}

std::optional<absl::string_view> XattrMap::ToClient(absl::string_view name) const {
  for (const Rule& rule : rules_) {
    if (!rule.server || !absl::StartsWith(name, rule.prepend)) continue;
    if (rule.type == Type::kOk) return name;
    if (rule.type != Type::kPrefix) return std::nullopt;
    // No name would be left of it, and a list cannot say so.
    if (name.size() == rule.prepend.size()) return std::nullopt;
    return name.substr(rule.prepend.size());
  }
  return name;
}

size_t XattrMap::FilterList(std::span<char> list) const {
  if (rules_.empty()) return list.size();
  size_t kept = 0;
  for (size_t at = 0; at < list.size();) {
    const absl::string_view name(list.data() + at, strnlen(list.data() + at, list.size() - at));
    at += name.size() + 1;
    const std::optional<absl::string_view> shown = ToClient(name);
    if (!shown.has_value() || shown->empty()) continue;
    // Never longer than it was, and never moved towards the end: what comes is not touched. A last
    // name without its NUL gets none beyond the list.
    std::memmove(list.data() + kept, shown->data(), shown->size());
    kept += shown->size();
    if (kept < list.size()) list[kept++] = '\0';
  }
  return kept;
}

}  // namespace gofer::fuse
