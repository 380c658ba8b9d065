#include "gofer/virtiofsd/personality.h"

#include <stdlib.h>

#include <iostream>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/state.h"
#include "gofer/server/about.h"
#include "gofer/server/fuse_options.h"
#include "gofer/server/log_output.h"
#include "gofer/server/options.h"
#include "gofer/server/serve.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"
#include "gofer/virtiofsd/activation.h"
#include "gofer/virtiofsd/command_line.h"
#include "gofer/virtiofsd/descriptor_limit.h"

namespace gofer::virtiofsd {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;
// The release whose command line this is.
constexpr char kReference[] = "1.13.2";
constexpr char kLogLevelVariable[] = "GOFER_LOG_LEVEL";

int Report(const absl::Status& status, int exit_status) {
  server::ReportFailure(server::LogFormat::kText,
                        absl::StrCat(kPersonalityName, ": ", status.message()));
  return exit_status;
}

// Which of them it is to be, if the command line has not said so.
absl::Status FindSocket(CommandLine& line) {
  if (line.socket_path.has_value() || line.fd.has_value()) return absl::OkStatus();
  ASSIGN_OR_RETURN(line.fd,
                   ActivationSocket(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), sys::ProcessId()));
  if (line.fd.has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError("no socket: give --socket-path or --fd");
}

absl::Status ApplyLogLevelVariable(server::ServeOptions& options) {
  const char* const text = getenv(kLogLevelVariable);
  if (text == nullptr || *text == '\0') return absl::OkStatus();
  const absl::StatusOr<server::LogLevelName> level =
      server::ParseLogLevel(absl::AsciiStrToLower(text));
  if (!level.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        kLogLevelVariable, "=", text, ": is not one of error, warn, info, debug, trace, off"));
  }
  options.set_log_level(*level);
  return absl::OkStatus();
}

// The directory itself, whatever links lead to it.
absl::Status ResolveRoot(server::ServeOptions& options) {
  if (options.root().empty()) {
    return absl::FailedPreconditionError("no directory to share: give --shared-dir or -o source=");
  }
  ErrnoOr<std::string> resolved = sys::ResolvePath(options.root());
  if (!resolved.ok()) {
    return ToStatus(resolved.error(), absl::StrCat("--shared-dir=", options.root()));
  }
  options.set_root(*std::move(resolved));
  return absl::OkStatus();
}

// For the messages alone: the socket is made later, and its directory looked up once more.
absl::Status CheckSocketDirectory(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return absl::OkStatus();
  const ErrnoOr<UniqueFd> parent = sys::OpenLocation(path.substr(0, slash + 1).c_str());
  if (parent.ok()) return absl::OkStatus();
  return ToStatus(parent.error(), absl::StrCat("--socket-path=", path, ": its directory"));
}

absl::StatusOr<server::ServiceEnd> Serve(CommandLine& line) {
  server::ServeOptions& options = line.serve;
  for (const std::string& warning : line.warnings) LOG(WARNING) << warning;
  RETURN_IF_ERROR(ResolveRoot(options));
  RETURN_IF_ERROR(server::ToSessionOptions(options).status());
  if (options.sandbox() == server::SANDBOX_CHROOT && !sys::IsRoot()) {
    return absl::FailedPreconditionError(
        "--sandbox=chroot is for root alone: use --sandbox=namespace");
  }
  if (line.fd.has_value()) {
    options.add_vhost_user_fd(*line.fd);
  } else {
    RETURN_IF_ERROR(CheckSocketDirectory(*line.socket_path));
    options.add_vhost_user_socket(*line.socket_path);
    options.set_pid_file(absl::StrCat(*line.socket_path, ".pid"));
  }
  ASSIGN_OR_RETURN(const uint64_t limit, SetDescriptorLimit(line.rlimit_nofile));
  RETURN_IF_ERROR(CheckDescriptorLimit(limit, options.thread_pool_size()));
  options.set_keep_rlimit_nofile(true);
  // The peer has no limit of its own, and guests do not forget before their memory is short.
  options.set_max_nodes(fs::kMaxNodes);
  return server::Serve(options);
}

}  // namespace

int RunPersonality(const std::vector<std::string>& arguments) {
  absl::StatusOr<CommandLine> line = ParseCommandLine(arguments);
  if (!line.ok()) return Report(line.status(), kUsage);
  switch (line->action) {
    case CommandLine::Action::kHelp:
      std::cout << Help();
      return 0;
    case CommandLine::Action::kHelpForNothing:
      std::cerr << Help();
      return kUsage;
    case CommandLine::Action::kVersion:
      std::cout << kPersonalityName << " " << kReference << " (gofer " << server::kVersion << ")\n";
      return 0;
    case CommandLine::Action::kPrintCapabilities:
      std::cout << server::VhostUserCapabilities();
      return 0;
    case CommandLine::Action::kServe:
      break;
  }
  for (const absl::Status& status : {FindSocket(*line), ApplyLogLevelVariable(line->serve)}) {
    if (!status.ok()) return Report(status, kUsage);
  }
  server::StartLogging(
      {.format = line->serve.syslog() ? server::LogFormat::kSyslog : server::LogFormat::kText,
       .level = server::ToLogLevel(line->serve.log_level())});
  const absl::StatusOr<server::ServiceEnd> end = Serve(*line);
  if (!end.ok()) return Report(end.status(), kFailure);
  return *end == server::ServiceEnd::kClientsGone ? 0 : kFailure;
}

}  // namespace gofer::virtiofsd
