// Command line flags as Go's flag package reads them: -x and --x are the same; --x=v or --x v; a
// boolean takes a value only after '='; flags end at "--" or at the first argument that is none.
// The last of several wins.
//
// Owner:   the targets that flags are bound to outlive the set. Threads: one.
// Errors:  InvalidArgument, one line with the flag and its value.
// Source:  Go flag package; spec/runsc-gofer-launch.md s.2.

#ifndef GOFER_RUNSC_GO_FLAGS_H_
#define GOFER_RUNSC_GO_FLAGS_H_

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer::runsc {

// 1, t, T, TRUE, true, True and their opposites.
absl::StatusOr<bool> ParseGoBool(absl::string_view text);

class GoFlags {
 public:
  GoFlags& Bool(absl::string_view name, bool* target);
  GoFlags& Bool(absl::string_view name, std::optional<bool>* target);
  GoFlags& Int(absl::string_view name, int* target);
  // Repeated and comma separated values add up.
  GoFlags& Ints(absl::string_view name, std::vector<int>* target);
  GoFlags& String(absl::string_view name, std::string* target);
  // A boolean that does more than to be kept.
  GoFlags& OnBool(absl::string_view name, std::function<void(bool)> set);
  GoFlags& Custom(absl::string_view name, std::function<absl::Status(absl::string_view)> set);

  // Called for a flag that nobody bound, with its value if it has one after '='. Without a handler
  // such a flag is an error. Never takes the next argument for a value: of an unknown flag nobody
  // knows whether it has one, and runsc always writes --name=value.
  void OnUnknown(
      std::function<absl::Status(absl::string_view name, absl::string_view value)> handler);

  // Sets the targets; what is left begins at the first argument that is no flag.
  absl::StatusOr<std::span<const std::string>> Parse(std::span<const std::string> arguments) const;

  // Sets one flag by name, as an annotation does. NotFound if nobody bound it.
  absl::Status Set(absl::string_view name, absl::string_view value) const;

 private:
  struct Flag {
    bool boolean;
    std::function<absl::Status(absl::string_view)> set;
  };

  absl::flat_hash_map<std::string, Flag> flags_;
  std::function<absl::Status(absl::string_view, absl::string_view)> on_unknown_;
};

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_GO_FLAGS_H_
