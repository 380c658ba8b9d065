#include "gofer/server/options.h"

#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "gofer/base/status_macros.h"

namespace gofer::server {
namespace {

// Of the device's configuration space.
constexpr size_t kMaxTag = 36;

template <typename Value>
struct Choice {
  absl::string_view text;
  Value value;
};

template <typename Value, size_t kCount>
absl::StatusOr<Value> Choose(absl::string_view flag, absl::string_view text,
                             const Choice<Value> (&choices)[kCount]) {
  std::string known;
  for (const Choice<Value>& choice : choices) {
    if (choice.text == text) return choice.value;
    absl::StrAppend(&known, known.empty() ? "" : ", ", choice.text);
  }
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", text, ": is not one of ", known));
}

constexpr Choice<SeccompName> kSeccompNames[] = {
    {"kill", SECCOMP_KILL}, {"trap", SECCOMP_TRAP}, {"log", SECCOMP_LOG}, {"none", SECCOMP_NONE}};
constexpr Choice<SandboxName> kSandboxNames[] = {
    {"namespace", SANDBOX_NAMESPACE}, {"chroot", SANDBOX_CHROOT}, {"none", SANDBOX_NONE}};

template <typename Value, size_t kCount>
absl::string_view TextOf(Value value, const Choice<Value> (&choices)[kCount]) {
  for (const Choice<Value>& choice : choices) {
    if (choice.value == value) return choice.text;
  }
  return "";
}

struct WayIn {
  absl::string_view what;  // descriptor, file, or what is mounted there
  std::string path = "/";
  bool readonly = false;
};

// WHAT[:PATH[:ro]]
absl::StatusOr<WayIn> ParseWayIn(absl::string_view flag, absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  const auto error = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", text, ": ", why));
  };
  WayIn way{.what = parts[0]};
  if (way.what.empty()) return error("is empty");
  if (parts.size() > 1) way.path = std::string(parts[1]);
  if (!absl::StartsWith(way.path, "/")) return error("the path served does not begin with /");
  if (parts.size() > 2) {
    if (parts.size() > 3 || parts[2] != "ro") return error("what follows the path is not ro");
    way.readonly = true;
  }
  return way;
}

absl::StatusOr<std::vector<WayIn>> ParseWaysIn(absl::string_view flag, absl::string_view text) {
  std::vector<WayIn> ways;
  if (text.empty()) return ways;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    ASSIGN_OR_RETURN(WayIn way, ParseWayIn(flag, part));
    ways.push_back(std::move(way));
  }
  return ways;
}

}  // namespace

absl::Status ParseLisafsFds(absl::string_view text, ServeOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<WayIn> ways, ParseWaysIn("lisafs_fd", text));
  for (const WayIn& way : ways) {
    LisafsFd& added = *options.add_lisafs_fd();
    int fd;
    if (!absl::SimpleAtoi(way.what, &fd) || fd < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--lisafs_fd=", way.what, ": is not a descriptor's number"));
    }
    added.set_fd(fd);
    added.set_path(way.path);
    added.set_readonly(way.readonly);
  }
  return absl::OkStatus();
}

absl::Status ParseLisafsSockets(absl::string_view text, ServeOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<WayIn> ways, ParseWaysIn("lisafs_socket", text));
  for (const WayIn& way : ways) {
    LisafsSocket& added = *options.add_lisafs_socket();
    added.set_file(std::string(way.what));
    added.set_path(way.path);
    added.set_readonly(way.readonly);
  }
  return absl::OkStatus();
}

absl::Status ParseMounts(absl::string_view text, ServeOptions& options) {
  ASSIGN_OR_RETURN(const std::vector<WayIn> mounts, ParseWaysIn("mounts", text));
  for (const WayIn& mount : mounts) {
    if (mount.path.find_first_not_of('/') == std::string::npos) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--mounts=", mount.what, ": needs a path below the root, ", mount.what, ":PATH[:ro]"));
    }
    Mount& added = *options.add_mounts();
    added.set_source(std::string(mount.what));
    added.set_path(mount.path);
    added.set_readonly(mount.readonly);
  }
  return absl::OkStatus();
}

absl::Status ParseVhostUserSockets(absl::string_view text, ServeOptions& options) {
  for (const absl::string_view file : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    options.add_vhost_user_socket(std::string(file));
  }
  return absl::OkStatus();
}

absl::Status ParseVhostUserFds(absl::string_view text, ServeOptions& options) {
  for (const absl::string_view number : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    int fd;
    if (!absl::SimpleAtoi(number, &fd) || fd < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--vhost_user_fd=", number, ": is not a descriptor's number"));
    }
    options.add_vhost_user_fd(fd);
  }
  return absl::OkStatus();
}

absl::Status ParseFuseMountpoints(absl::string_view text, ServeOptions& options) {
  for (const absl::string_view directory : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    options.add_fuse_mountpoint(std::string(directory));
  }
  return absl::OkStatus();
}

absl::Status ParseFuseFds(absl::string_view text, ServeOptions& options) {
  for (const absl::string_view number : absl::StrSplit(text, ',', absl::SkipEmpty())) {
    int fd;
    if (!absl::SimpleAtoi(number, &fd) || fd < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--fuse_fd=", number, ": is not a descriptor's number"));
    }
    options.add_fuse_fd(fd);
  }
  return absl::OkStatus();
}

absl::StatusOr<HostUds> ParseHostUds(absl::string_view text) {
  static constexpr Choice<HostUds> kChoices[] = {{"none", HOST_UDS_NONE},
                                                 {"open", HOST_UDS_OPEN},
                                                 {"create", HOST_UDS_CREATE},
                                                 {"all", HOST_UDS_ALL}};
  return Choose("host_uds", text, kChoices);
}

absl::StatusOr<HostFifo> ParseHostFifo(absl::string_view text) {
  static constexpr Choice<HostFifo> kChoices[] = {{"none", HOST_FIFO_NONE},
                                                  {"open", HOST_FIFO_OPEN}};
  return Choose("host_fifo", text, kChoices);
}

absl::StatusOr<DonateFds> ParseDonateFds(absl::string_view text) {
  static constexpr Choice<DonateFds> kChoices[] = {{"auto", DONATE_AUTO}, {"never", DONATE_NEVER}};
  return Choose("donate_fds", text, kChoices);
}

absl::StatusOr<LogFormatName> ParseLogFormat(absl::string_view text) {
  static constexpr Choice<LogFormatName> kChoices[] = {{"text", LOG_TEXT}, {"json", LOG_JSON}};
  return Choose("log_format", text, kChoices);
}

absl::StatusOr<SeccompName> ParseSeccomp(absl::string_view text) {
  return Choose("seccomp", text, kSeccompNames);
}

absl::StatusOr<SandboxName> ParseSandbox(absl::string_view text) {
  return Choose("sandbox", text, kSandboxNames);
}

absl::string_view NameOf(SeccompName seccomp) { return TextOf(seccomp, kSeccompNames); }
absl::string_view NameOf(SandboxName sandbox) { return TextOf(sandbox, kSandboxNames); }

absl::StatusOr<OnMismatch> ParseOnMismatch(absl::string_view text) {
  static constexpr Choice<OnMismatch> kChoices[] = {{"abort", ON_MISMATCH_ABORT},
                                                    {"mark", ON_MISMATCH_MARK}};
  return Choose("on_mismatch", text, kChoices);
}

absl::StatusOr<LandlockName> ParseLandlock(absl::string_view text) {
  static constexpr Choice<LandlockName> kChoices[] = {{"auto", LANDLOCK_AUTO},
                                                      {"off", LANDLOCK_OFF}};
  return Choose("landlock", text, kChoices);
}

absl::StatusOr<LogLevelName> ParseLogLevel(absl::string_view text) {
  static constexpr Choice<LogLevelName> kChoices[] = {
      {"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARN},   {"info", LOG_LEVEL_INFO},
      {"debug", LOG_LEVEL_DEBUG}, {"trace", LOG_LEVEL_TRACE}, {"off", LOG_LEVEL_OFF}};
  return Choose("log_level", text, kChoices);
}

absl::StatusOr<CacheName> ParseCache(absl::string_view text) {
  static constexpr Choice<CacheName> kChoices[] = {{"never", CACHE_NEVER},
                                                   {"metadata", CACHE_METADATA},
                                                   {"auto", CACHE_AUTO},
                                                   {"always", CACHE_ALWAYS}};
  return Choose("cache", text, kChoices);
}

absl::StatusOr<InodeFileHandlesName> ParseInodeFileHandles(absl::string_view text) {
  static constexpr Choice<InodeFileHandlesName> kChoices[] = {
      {"never", INODE_FILE_HANDLES_NEVER},
      {"prefer", INODE_FILE_HANDLES_PREFER},
      {"mandatory", INODE_FILE_HANDLES_MANDATORY}};
  return Choose("inode_file_handles", text, kChoices);
}

absl::StatusOr<CredsName> ParseCreds(absl::string_view text) {
  static constexpr Choice<CredsName> kChoices[] = {{"give", CREDS_GIVE}, {"switch", CREDS_SWITCH}};
  return Choose("creds", text, kChoices);
}

absl::StatusOr<MigrationModeName> ParseMigrationMode(absl::string_view text) {
  static constexpr Choice<MigrationModeName> kChoices[] = {
      {"find-paths", MIGRATION_FIND_PATHS}, {"file-handles", MIGRATION_FILE_HANDLES}};
  return Choose("migration_mode", text, kChoices);
}

absl::StatusOr<MigrationOnErrorName> ParseMigrationOnError(absl::string_view text) {
  static constexpr Choice<MigrationOnErrorName> kChoices[] = {
      {"abort", MIGRATION_ABORT}, {"guest-error", MIGRATION_GUEST_ERROR}};
  return Choose("migration_on_error", text, kChoices);
}

LogLevel ToLogLevel(LogLevelName name) {
  switch (name) {
    case LOG_LEVEL_TRACE:
      return LogLevel::kTrace;
    case LOG_LEVEL_DEBUG:
      return LogLevel::kDebug;
    case LOG_LEVEL_WARN:
      return LogLevel::kWarn;
    case LOG_LEVEL_ERROR:
      return LogLevel::kError;
    case LOG_LEVEL_OFF:
      return LogLevel::kOff;
    default:
      return LogLevel::kInfo;
  }
}

absl::Status CheckLimit(absl::string_view flag, uint64_t value, uint64_t least, uint64_t most,
                        absl::string_view why) {
  if (value == 0 || (value >= least && value <= most)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("--", flag, "=", value, ": is not from ", least,
                                                 " to ", most, " (", why,
                                                 "); give one of these, or 0 for the default"));
}

absl::Status Validate(const ServeOptions& options) {
  if (options.root().empty())
    return absl::InvalidArgumentError("--root is missing: the directory to serve");
  if (options.lisafs_fd().empty() && options.lisafs_socket().empty() &&
      options.vhost_user_socket().empty() && options.vhost_user_fd().empty() &&
      options.fuse_mountpoint().empty() && options.fuse_fd().empty()) {
    return absl::InvalidArgumentError(
        "no way in: give --lisafs_fd, --lisafs_socket, --vhost_user_socket, --vhost_user_fd, "
        "--fuse_mountpoint or --fuse_fd");
  }
  if (!options.mounts().empty() && options.sandbox() != SANDBOX_NAMESPACE) {
    return absl::InvalidArgumentError(
        absl::StrCat("--mounts: needs a mount namespace, --sandbox=namespace, not --sandbox=",
                     NameOf(options.sandbox())));
  }
  if (options.tag().size() > kMaxTag) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--tag=", options.tag(), ": ", options.tag().size(), " bytes, limit ", kMaxTag));
  }
  std::set<int> fds;
  for (const LisafsFd& way : options.lisafs_fd()) {
    if (fds.insert(way.fd()).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--lisafs_fd: descriptor ", way.fd(), " is given twice"));
  }
  for (const int fd : options.vhost_user_fd()) {
    if (fds.insert(fd).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--vhost_user_fd: descriptor ", fd, " is given twice"));
  }
  for (const int fd : options.fuse_fd()) {
    if (fds.insert(fd).second) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--fuse_fd: descriptor ", fd, " is given twice"));
  }
  if (options.ready_fd() >= 0 && fds.count(options.ready_fd()) > 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ready_fd: descriptor ", options.ready_fd(), " is a way in"));
  }
  return absl::OkStatus();
}

}  // namespace gofer::server
