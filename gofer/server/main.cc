// The gofer's command line. The first word is the command; the program's name may choose a
// personality instead.
//
// Exit status: 0 served and ended as asked, 1 failure at run time, 2 wrong use, 3 a checkpoint or
// restore refused because the state does not match. Each failure is one line on stderr.

#include <algorithm>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/base/exit_status.h"
#include "gofer/runsc/personality.h"
#include "gofer/server/about.h"
#include "gofer/server/commands.h"
#include "gofer/server/flags.h"
#include "gofer/server/inspect.h"
#include "gofer/server/log_output.h"
#include "gofer/server/options.h"
#include "gofer/server/options.pb.h"
#include "gofer/server/serve.h"
#include "gofer/virtiofsd/personality.h"

#ifdef GOFER_SANITIZER
// Not by the environment, of which the gofer is started without, and rids itself: what it would say
// is in .bazelrc. A confined process has no /proc, without which the leak check at its end fails.
// What the libraries leak, their own tests find. Threads that run when a saved gofer leaves are meant
// to (RunLoop::AskToLeave).
extern "C" const char* __asan_default_options() { return "detect_leaks=0:strict_string_checks=1"; }
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1"; }
extern "C" const char* __tsan_default_options() {
  return "halt_on_error=1:second_deadlock_stack=1:report_thread_leaks=0";
}
#endif

#ifdef __SANITIZE_THREAD__
// Abseil's mutexes hide their own order from tsan, to which what a thread does to be woken up then races
// with who wakes it up.
extern "C" const char* __tsan_default_suppressions() { return "race:PerThreadSem\n"; }
extern "C" void __sanitizer_symbolize_pc(void* pc, const char* format, char* to, size_t size);
#endif

namespace gofer::server {
namespace {

constexpr char kUsage[] =
    "usage: gofer serve --root=DIR [--lisafs_fd=N[:PATH[:ro]],...] "
    "[--lisafs_socket=FILE[:PATH[:ro]],...]\n"
    "                   [--vhost_user_socket=FILE,...] [--vhost_user_fd=N,...]\n"
    "                   [--fuse_mountpoint=DIR,...] [--fuse_fd=N,...] [flags]\n"
    "       gofer restore --image_path=DIR [--on_mismatch=abort|mark] [flags of serve]\n"
    "       gofer checkpoint --control_socket=FILE --image_path=DIR [--leave_running] [--json]\n"
    "       gofer status|metrics|confinement|purge|stop --control_socket=FILE [--json]\n"
    "       gofer inspect IMAGE [--tree] [--verify --root=DIR] [--json]\n"
    "       gofer capabilities [--json]\n"
    "       gofer runsc-gofer ARGUMENTS...   stands in for `runsc ... gofer ...`, also when "
    "started by that name\n"
    "       gofer virtiofsd ARGUMENTS...     stands in for virtiofsd, also when started by that "
    "name\n"
    "       gofer --version | --help | --print-capabilities\n";

bool IsHelp(const std::string& word) { return word == "--help" || word == "-help" || word == "-h"; }

int RunServe(const absl::StatusOr<ServeOptions>& options) {
  if (!options.ok()) {
    ReportFailure(LogFormat::kText, options.status().message());
    return ExitStatusOf(options.status());
  }
  const LogFormat format = options->log_format() == LOG_JSON ? LogFormat::kJson : LogFormat::kText;
  LogOptions log = {.format = options->syslog() ? LogFormat::kSyslog : format,
                    .level = ToLogLevel(options->log_level())};
  if (options->log_records_per_second() > 0) {
    log.records_per_second = static_cast<int>(options->log_records_per_second());
  }
  StartLogging(log);
  const absl::StatusOr<ServiceEnd> served = Serve(*options);
  if (!served.ok()) ReportFailure(format, served.status().message());
  return ExitStatusOf(served.status());
}

absl::Status RunCommand(const std::string& command, const std::string& image) {
  const CommandFlags flags = CommandFlagsFromFlags();
  if (command == "checkpoint") return Checkpoint(flags);
  if (command == "status") return ShowStatus(flags);
  if (command == "metrics") return ShowMetrics(flags);
  if (command == "confinement") return ShowConfinement(flags);
  if (command == "purge") return Purge(flags);
  if (command == "stop") return Stop(flags);
  if (command == "inspect") return Inspect(flags, image);
  std::cout << (flags.json ? CapabilitiesAsJson() : CapabilitiesAsText());
  return absl::OkStatus();
}

int Run(const std::string& program, std::vector<std::string> arguments) {
  if (program == runsc::kPersonalityName) return runsc::RunPersonality(arguments);
  if (program == virtiofsd::kPersonalityName) return virtiofsd::RunPersonality(arguments);
  if (arguments.empty()) {
    std::cerr << kUsage;
    return kExitUsage;
  }
  const std::string command = arguments.front();
  arguments.erase(arguments.begin());
  if (command == runsc::kPersonalityName) return runsc::RunPersonality(arguments);
  if (command == virtiofsd::kPersonalityName) return virtiofsd::RunPersonality(arguments);
  if (IsHelp(command) || std::any_of(arguments.begin(), arguments.end(), IsHelp)) {
    std::cout << kUsage << "\nflags ('-' and '_' are the same in their names):\n" << FlagsHelp();
    return 0;
  }
  if (command == "--print-capabilities") {
    std::cout << VhostUserCapabilities();
    return 0;
  }
  if (command == "--version") {
    std::cout << "gofer " << kVersion << "\n";
    return 0;
  }
  constexpr absl::string_view kCommands[] = {"serve",   "restore",     "checkpoint", "status",
                                             "metrics", "confinement", "purge",      "stop",
                                             "inspect", "capabilities"};
  if (std::find(std::begin(kCommands), std::end(kCommands), command) == std::end(kCommands)) {
    ReportFailure(LogFormat::kText,
                  absl::StrCat("unknown command \"", command, "\"; see gofer --help"));
    return kExitUsage;
  }
  const absl::StatusOr<std::vector<std::string>> positional = ParseFlags(arguments);
  const size_t wanted = command == "inspect" ? 1 : 0;
  absl::Status status = positional.status();
  if (status.ok() && positional->size() > wanted) {
    status = absl::InvalidArgumentError(
        absl::StrCat("argument \"", (*positional)[wanted], "\" is no flag; see gofer --help"));
  } else if (status.ok() && positional->size() < wanted) {
    status = absl::InvalidArgumentError(
        absl::StrCat(command, ": name an image, or the directory of one; see gofer --help"));
  }
  if (status.ok() && command == "serve") return RunServe(ServeOptionsFromFlags());
  if (status.ok() && command == "restore") return RunServe(RestoreOptionsFromFlags());
  if (status.ok()) status = RunCommand(command, wanted == 0 ? "" : positional->front());
  if (!status.ok()) ReportFailure(LogFormat::kText, status.message());
  return ExitStatusOf(status);
}

}  // namespace
}  // namespace gofer::server

int main(int argc, char** argv) {
#ifdef __SANITIZE_THREAD__
  // What a confined process could not open any more: the names of functions, in reports and in
  // suppressions.
  char name[64];
  __sanitizer_symbolize_pc(__builtin_return_address(0), "%f", name, sizeof(name));
#endif
  const std::string path = argc > 0 ? argv[0] : "";
  const std::string program = path.substr(path.rfind('/') + 1);  // all of it without a slash
  return gofer::server::Run(program,
                            std::vector<std::string>(argv + (argc > 0 ? 1 : 0), argv + argc));
}
