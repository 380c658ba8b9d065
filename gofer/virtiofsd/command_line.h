// virtiofsd's command line, 1.13's, in all its forms: options with one value or none, their older
// names, the list of -o.
//
// An option that is repeated counts as it stands last; ranges and rules of ids, and -o, add up.
// What -o says counts more than the options themselves, wherever it stands.
//
// Errors:  InvalidArgument, in one line: option, value, what is wrong with it. Threads: values.
// Source:  spec/virtiofsd-parity.md sections A, B and C.

#ifndef GOFER_VIRTIOFSD_COMMAND_LINE_H_
#define GOFER_VIRTIOFSD_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "gofer/server/options.pb.h"

namespace gofer::virtiofsd {

struct CommandLine {
  enum class Action { kServe, kHelp, kHelpForNothing, kVersion, kPrintCapabilities };
  Action action = Action::kServe;

  // Root, sandbox, policy and log, as `gofer serve` would have them. What the environment decides
  // is not in it yet: the socket to use, the limit of descriptors.
  server::ServeOptions serve;

  std::optional<std::string> socket_path;
  std::optional<int> fd;
  std::optional<uint64_t> rlimit_nofile;

  // About forms that are out of date, for the log.
  std::vector<std::string> warnings;
};

// `arguments` without argv[0].
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

// What --help says.
std::string Help();

}  // namespace gofer::virtiofsd

#endif  // GOFER_VIRTIOFSD_COMMAND_LINE_H_
