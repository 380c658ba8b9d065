#include "gofer/runsc/go_flags.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gofer/base/status_macros.h"

namespace gofer::runsc {
namespace {

absl::StatusOr<int> ParseInt(absl::string_view text) {
  int value;
  if (!absl::SimpleAtoi(text, &value)) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not a number"));
  }
  return value;
}

absl::Status Annotate(const absl::Status& status, absl::string_view flag) {
  return absl::Status(status.code(), absl::StrCat("flag --", flag, ": ", status.message()));
}

}  // namespace

absl::StatusOr<bool> ParseGoBool(absl::string_view text) {
  for (const absl::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const absl::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not a boolean"));
}

GoFlags& GoFlags::Bool(absl::string_view name, bool* target) {
  return OnBool(name, [target](bool value) { *target = value; });
}

GoFlags& GoFlags::Bool(absl::string_view name, std::optional<bool>* target) {
  return OnBool(name, [target](bool value) { *target = value; });
}

GoFlags& GoFlags::OnBool(absl::string_view name, std::function<void(bool)> set) {
  flags_[name] = {.boolean = true,
                  .set = [set = std::move(set)](absl::string_view text) -> absl::Status {
                    ASSIGN_OR_RETURN(const bool value, ParseGoBool(text));
                    set(value);
                    return absl::OkStatus();
                  }};
  return *this;
}

GoFlags& GoFlags::Int(absl::string_view name, int* target) {
  return Custom(name, [target](absl::string_view text) -> absl::Status {
    ASSIGN_OR_RETURN(*target, ParseInt(text));
    return absl::OkStatus();
  });
}

GoFlags& GoFlags::Ints(absl::string_view name, std::vector<int>* target) {
  return Custom(name, [target](absl::string_view text) -> absl::Status {
    for (const absl::string_view part : absl::StrSplit(text, ',')) {
      ASSIGN_OR_RETURN(const int value, ParseInt(part));
      target->push_back(value);
    }
    return absl::OkStatus();
  });
}

GoFlags& GoFlags::String(absl::string_view name, std::string* target) {
  return Custom(name, [target](absl::string_view text) {
    *target = std::string(text);
    return absl::OkStatus();
  });
}

GoFlags& GoFlags::Custom(absl::string_view name,
                         std::function<absl::Status(absl::string_view)> set) {
  flags_[name] = {.boolean = false, .set = std::move(set)};
  return *this;
}

void GoFlags::OnUnknown(std::function<absl::Status(absl::string_view, absl::string_view)> handler) {
  on_unknown_ = std::move(handler);
}

absl::StatusOr<std::span<const std::string>> GoFlags::Parse(
    std::span<const std::string> arguments) const {
  while (!arguments.empty()) {
    absl::string_view text = arguments.front();
    if (text.size() < 2 || text[0] != '-') break;
    arguments = arguments.subspan(1);
    if (text == "--") break;
    text.remove_prefix(text[1] == '-' ? 2 : 1);

    const size_t equals = text.find('=');
    const absl::string_view name = text.substr(0, equals);
    if (name.empty() || name[0] == '-') {
      return absl::InvalidArgumentError(absl::StrCat("bad flag syntax: --", text));
    }
    std::optional<absl::string_view> value;
    if (equals != absl::string_view::npos) value = text.substr(equals + 1);

    const auto found = flags_.find(name);
    if (found == flags_.end()) {
      if (!on_unknown_) return absl::InvalidArgumentError(absl::StrCat("unknown flag --", name));
      RETURN_IF_ERROR(on_unknown_(name, value.value_or("")));
      continue;
    }
    const Flag& flag = found->second;
    if (!value.has_value()) {
      if (flag.boolean) {
        value = "true";
      } else if (!arguments.empty()) {
        value = arguments.front();
        arguments = arguments.subspan(1);
      } else {
        return absl::InvalidArgumentError(absl::StrCat("flag --", name, " needs a value"));
      }
    }
    if (const absl::Status set = flag.set(*value); !set.ok()) return Annotate(set, name);
  }
  return arguments;
}

absl::Status GoFlags::Set(absl::string_view name, absl::string_view value) const {
  const auto found = flags_.find(name);
  if (found == flags_.end()) return absl::NotFoundError(absl::StrCat("unknown flag --", name));
  if (const absl::Status set = found->second.set(value); !set.ok()) return Annotate(set, name);
  return absl::OkStatus();
}

}  // namespace gofer::runsc
