// The flags of the command line: one table for all commands, as text and as what it asks for.
//
// Threads: the main thread alone. Errors: InvalidArgument: flag, value, what it should be.
// Source:  the design's command line.

#ifndef GOFER_SERVER_FLAGS_H_
#define GOFER_SERVER_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/server/options.pb.h"

namespace gofer::server {

// One paragraph a flag.
std::string FlagsHelp();

// Sets the flags of a command and returns what is no flag. Lists that are given several times add
// up.
absl::StatusOr<std::vector<std::string>> ParseFlags(const std::vector<std::string>& arguments);

absl::StatusOr<ServeOptions> ServeOptionsFromFlags();
// The same with what `gofer restore` is told besides.
absl::StatusOr<ServeOptions> RestoreOptionsFromFlags();

// What the commands other than serve and restore are told.
struct CommandFlags {
  std::string control_socket;
  std::string image_path;
  std::string image_key_file;
  bool leave_running = false;
  bool confirm_paths = false;
  uint64_t max_deleted_bytes = 0;
  uint64_t save_quiesce_seconds = 0;
  std::string root;
  bool validate_file_sizes = true;
  bool validate_mtimes = true;
  bool follow_moved = false;
  bool tree = false;
  bool verify = false;
  bool watch = false;
  bool json = false;
};
CommandFlags CommandFlagsFromFlags();

}  // namespace gofer::server

#endif  // GOFER_SERVER_FLAGS_H_
