// The gofer's command line. The first word is the command; the program's name may choose a
// personality instead.
//
// Exit status: 0 served and ended as asked, 1 failure at run time, 2 wrong use. Each failure is one
// line on stderr.

#include <algorithm>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "gflags/gflags.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/personality.h"
#include "gofer/server/about.h"
#include "gofer/server/log_output.h"
#include "gofer/server/options.h"
#include "gofer/server/options.pb.h"
#include "gofer/server/serve.h"

DEFINE_string(root, "", "serve: the directory to serve");
DEFINE_bool(readonly, false, "serve: refuse every change");
DEFINE_string(lisafs_fd, "",
              "serve: connected unix stream sockets by number, N[:PATH[:ro]],...; exits 0 when all "
              "have ended");
DEFINE_string(lisafs_socket, "",
              "serve: sockets to listen on, FILE[:PATH[:ro]],...; one mount per connection");
DEFINE_string(host_uds, "none",
              "serve: unix sockets of the host for clients: none, open, create, all");
DEFINE_string(host_fifo, "none", "serve: FIFOs of the host for clients: none, open");
DEFINE_string(donate_fds, "auto",
              "serve: whether clients get descriptors of open files: auto, never");
DEFINE_int32(ready_fd, -1, "serve: gets one newline when clients are served, and is closed");
DEFINE_string(log_format, "text", "serve: the log on stderr: text, json");
DEFINE_string(pid_file, "", "serve: gets the process id");
DEFINE_uint64(rlimit_nofile, 0,
              "serve: limit of open descriptors, soft and hard; 0 raises soft to hard");
DEFINE_string(seccomp, "kill", "serve: for a system call outside the list: kill, trap, log, none");
DEFINE_string(sandbox, "namespace",
              "serve: namespace (own mount, ipc, net and uts namespaces, pivot_root into the "
              "served tree; the pid "
              "namespace is shared, Landlock is not used), chroot, none");
DEFINE_bool(json, false, "capabilities: as a JSON object");

#ifdef GOFER_SANITIZER
// A confined process has no /proc, without which the leak check at its end fails. What the
// libraries leak, their own tests find.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace gofer::server {
namespace {

constexpr char kUsage[] =
    "usage: gofer serve --root=DIR [--lisafs_fd=N[:PATH[:ro]],...] "
    "[--lisafs_socket=FILE[:PATH[:ro]],...] [flags]\n"
    "       gofer capabilities [--json]\n"
    "       gofer runsc-gofer ARGUMENTS...   stands in for `runsc ... gofer ...`, also when "
    "started by that name\n"
    "       gofer --version | --help\n";

// Status 2: the command line has to change; 1: something else has.
int ExitStatus(const absl::Status& status) {
  if (status.ok()) return 0;
  return absl::IsInvalidArgument(status) ? 2 : 1;
}

// Ours only: the libraries' flags are not part of the interface.
bool FindFlag(const std::string& name, google::CommandLineFlagInfo& info) {
  return google::GetCommandLineFlagInfo(name.c_str(), &info) &&
         absl::EndsWith(info.filename, "server/main.cc");
}

std::string Help() {
  std::string text = absl::StrCat(kUsage, "\nflags ('-' and '_' are the same in their names):\n");
  std::vector<google::CommandLineFlagInfo> flags;
  google::GetAllFlags(&flags);
  for (const google::CommandLineFlagInfo& flag : flags) {
    if (!absl::EndsWith(flag.filename, "server/main.cc")) continue;
    absl::StrAppend(&text, "  --", flag.name, "=", flag.default_value, "\n      ", flag.description,
                    "\n");
  }
  return text;
}

// Sets the flags of a command. Lists that are given several times add up.
absl::Status ParseFlags(const std::vector<std::string>& arguments) {
  absl::flat_hash_map<std::string, std::string> lists = {{"lisafs_fd", ""}, {"lisafs_socket", ""}};
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view text = arguments[i];
    if (!absl::ConsumePrefix(&text, "--") && !absl::ConsumePrefix(&text, "-")) {
      return absl::InvalidArgumentError(
          absl::StrCat("argument \"", text, "\" is no flag; see gofer --help"));
    }
    const size_t equals = text.find('=');
    const std::string name = absl::StrReplaceAll(text.substr(0, equals), {{"-", "_"}});
    google::CommandLineFlagInfo info;
    if (!FindFlag(name, info)) {
      return absl::InvalidArgumentError(
          absl::StrCat("unknown flag --", name, "; see gofer --help"));
    }
    std::string value;
    if (equals != absl::string_view::npos) {
      value = std::string(text.substr(equals + 1));
    } else if (info.type == "bool") {
      value = "true";
    } else if (i + 1 < arguments.size()) {
      value = arguments[++i];
    } else {
      return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
    }
    if (const auto list = lists.find(name); list != lists.end() && !value.empty()) {
      absl::StrAppend(&list->second, list->second.empty() ? "" : ",", value);
      value = list->second;
    }
    if (google::SetCommandLineOption(name.c_str(), value.c_str()).empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, "=", value, ": is not a ", info.type));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ServeOptions> ServeOptionsFromFlags() {
  ServeOptions options;
  options.set_root(FLAGS_root);
  options.set_readonly(FLAGS_readonly);
  RETURN_IF_ERROR(ParseLisafsFds(FLAGS_lisafs_fd, options));
  RETURN_IF_ERROR(ParseLisafsSockets(FLAGS_lisafs_socket, options));
  ASSIGN_OR_RETURN(const HostUds host_uds, ParseHostUds(FLAGS_host_uds));
  options.set_host_uds(host_uds);
  ASSIGN_OR_RETURN(const HostFifo host_fifo, ParseHostFifo(FLAGS_host_fifo));
  options.set_host_fifo(host_fifo);
  ASSIGN_OR_RETURN(const DonateFds donate_fds, ParseDonateFds(FLAGS_donate_fds));
  options.set_donate_fds(donate_fds);
  options.set_ready_fd(FLAGS_ready_fd);
  ASSIGN_OR_RETURN(const LogFormatName log_format, ParseLogFormat(FLAGS_log_format));
  options.set_log_format(log_format);
  options.set_pid_file(FLAGS_pid_file);
  options.set_rlimit_nofile(FLAGS_rlimit_nofile);
  ASSIGN_OR_RETURN(const SeccompName seccomp, ParseSeccomp(FLAGS_seccomp));
  options.set_seccomp(seccomp);
  ASSIGN_OR_RETURN(const SandboxName sandbox, ParseSandbox(FLAGS_sandbox));
  options.set_sandbox(sandbox);
  RETURN_IF_ERROR(Validate(options));
  return options;
}

bool IsHelp(const std::string& word) { return word == "--help" || word == "-help" || word == "-h"; }

int RunServe() {
  const absl::StatusOr<ServeOptions> options = ServeOptionsFromFlags();
  if (!options.ok()) {
    ReportFailure(LogFormat::kText, options.status().message());
    return ExitStatus(options.status());
  }
  const LogFormat format = options->log_format() == LOG_JSON ? LogFormat::kJson : LogFormat::kText;
  StartLogging({.format = format});
  const absl::Status served = Serve(*options);
  if (!served.ok()) ReportFailure(format, served.message());
  return ExitStatus(served);
}

int Run(const std::string& program, std::vector<std::string> arguments) {
  if (program == runsc::kPersonalityName) return runsc::RunPersonality(arguments);
  if (arguments.empty()) {
    std::cerr << kUsage;
    return 2;
  }
  const std::string command = arguments.front();
  arguments.erase(arguments.begin());
  if (command == runsc::kPersonalityName) return runsc::RunPersonality(arguments);
  if (IsHelp(command) || std::any_of(arguments.begin(), arguments.end(), IsHelp)) {
    std::cout << Help();
    return 0;
  }
  if (command == "--version") {
    std::cout << "gofer " << kVersion << "\n";
    return 0;
  }
  if (command != "serve" && command != "capabilities") {
    ReportFailure(LogFormat::kText,
                  absl::StrCat("unknown command \"", command, "\"; see gofer --help"));
    return 2;
  }
  if (const absl::Status parsed = ParseFlags(arguments); !parsed.ok()) {
    ReportFailure(LogFormat::kText, parsed.message());
    return 2;
  }
  if (command == "serve") return RunServe();
  std::cout << (FLAGS_json ? CapabilitiesAsJson() : CapabilitiesAsText());
  return 0;
}

}  // namespace
}  // namespace gofer::server

int main(int argc, char** argv) {
  const std::string path = argc > 0 ? argv[0] : "";
  const std::string program = path.substr(path.rfind('/') + 1);  // all of it without a slash
  return gofer::server::Run(program,
                            std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
