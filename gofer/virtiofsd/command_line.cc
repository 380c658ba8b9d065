#include "gofer/virtiofsd/command_line.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "fuse/session/id_map.h"
#include "fuse/session/xattr_map.h"
#include "gofer/base/status_macros.h"
#include "gofer/server/options.h"
#include "gofer/server/user_namespace.h"

namespace gofer::virtiofsd {
namespace {

using server::FusePolicy;
using server::ServeOptions;

constexpr size_t kMaxTag = 36;

// Everything that was said, before it is known what goes together.
struct Parsed {
  CommandLine line;
  std::optional<std::string> shared_dir;
  std::optional<std::string> old_socket;  // --socket
  bool has_socket_group = false;
  std::vector<std::string> compat;  // -o
  bool debug = false;
  bool foreground = false;
  bool fallback = false;  // --inode-file-handles=fallback

  ServeOptions& serve() { return line.serve; }
  FusePolicy& fuse() { return *line.serve.mutable_fuse(); }
};

enum class Takes { kNothing, kValue, kValueAfterEquals };

using Set = absl::Status (*)(Parsed&, absl::string_view value);

struct Option {
  absl::string_view name;
  char letter;  // 0: none
  Takes takes;
  absl::string_view value;  // what --help calls it
  Set set;
  absl::string_view help;
};

absl::Status Invalid(absl::string_view why) { return absl::InvalidArgumentError(why); }

// The choices of `gofer serve` are the same words; what is wrong with another one is said there.
template <typename Value>
absl::StatusOr<Value> Choice(absl::StatusOr<Value> chosen) {
  if (chosen.ok()) return chosen;
  const absl::string_view message = chosen.status().message();
  return Invalid(message.substr(message.rfind(": ") + 2));
}

absl::Status SetCache(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::CacheName cache,
                   Choice(server::ParseCache(absl::AsciiStrToLower(value))));
  parsed.fuse().set_cache(cache);
  return absl::OkStatus();
}

absl::Status SetSandbox(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::SandboxName sandbox,
                   Choice(server::ParseSandbox(absl::AsciiStrToLower(value))));
  parsed.serve().set_sandbox(sandbox);
  return absl::OkStatus();
}

absl::Status SetSeccomp(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::SeccompName seccomp, Choice(server::ParseSeccomp(value)));
  parsed.serve().set_seccomp(seccomp);
  return absl::OkStatus();
}

absl::Status SetLogLevel(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::LogLevelName level,
                   Choice(server::ParseLogLevel(absl::AsciiStrToLower(value))));
  parsed.serve().set_log_level(level);
  return absl::OkStatus();
}

absl::Status SetInodeFileHandles(Parsed& parsed, absl::string_view value) {
  parsed.fallback = value == "fallback";
  ASSIGN_OR_RETURN(const server::InodeFileHandlesName mode,
                   Choice(server::ParseInodeFileHandles(parsed.fallback ? "prefer" : value)));
  parsed.fuse().set_inode_file_handles(mode);
  return absl::OkStatus();
}

absl::Status SetMigrationMode(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::MigrationModeName mode, Choice(server::ParseMigrationMode(value)));
  parsed.fuse().set_migration_mode(mode);
  return absl::OkStatus();
}

absl::Status SetMigrationOnError(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const server::MigrationOnErrorName mode,
                   Choice(server::ParseMigrationOnError(value)));
  parsed.fuse().set_migration_on_error(mode);
  return absl::OkStatus();
}

absl::Status SetTag(Parsed& parsed, absl::string_view value) {
  if (value.empty() || value.size() > kMaxTag) {
    return Invalid(absl::StrCat("has ", value.size(), " bytes; a tag has 1 to ", kMaxTag));
  }
  parsed.serve().set_tag(std::string(value));
  return absl::OkStatus();
}

absl::Status SetXattrMap(Parsed& parsed, absl::string_view value) {
  RETURN_IF_ERROR(fuse::XattrMap::Parse(value).status());
  parsed.fuse().set_xattrmap(std::string(value));
  return absl::OkStatus();
}

template <typename Number>
absl::StatusOr<Number> ParseNumber(absl::string_view value) {
  Number number;
  const bool digits =
      !value.empty() && std::all_of(value.begin(), value.end(), absl::ascii_isdigit);
  if (digits && absl::SimpleAtoi(value, &number)) return number;
  return Invalid(absl::StrCat("is not a number from 0 to ", std::numeric_limits<Number>::max()));
}

absl::Status SetFd(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(parsed.line.fd, ParseNumber<int>(value));
  return absl::OkStatus();
}

absl::Status SetThreadPoolSize(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(const uint32_t size, ParseNumber<uint32_t>(value));
  parsed.serve().set_thread_pool_size(size);
  return absl::OkStatus();
}

absl::Status SetRlimitNofile(Parsed& parsed, absl::string_view value) {
  ASSIGN_OR_RETURN(parsed.line.rlimit_nofile, ParseNumber<uint64_t>(value));
  return absl::OkStatus();
}

absl::Status AddUidMap(Parsed& parsed, absl::string_view value) {
  RETURN_IF_ERROR(server::ParseIdRange(value).status());
  parsed.serve().add_uid_map(std::string(value));
  return absl::OkStatus();
}

absl::Status AddGidMap(Parsed& parsed, absl::string_view value) {
  RETURN_IF_ERROR(server::ParseIdRange(value).status());
  parsed.serve().add_gid_map(std::string(value));
  return absl::OkStatus();
}

// One rule by itself; whether all of them fit together is seen when the service starts.
absl::Status AddTranslateUid(Parsed& parsed, absl::string_view value) {
  RETURN_IF_ERROR(fuse::IdMap().Add(value));
  parsed.fuse().add_translate_uid(std::string(value));
  return absl::OkStatus();
}

absl::Status AddTranslateGid(Parsed& parsed, absl::string_view value) {
  RETURN_IF_ERROR(fuse::IdMap().Add(value));
  parsed.fuse().add_translate_gid(std::string(value));
  return absl::OkStatus();
}

template <void (FusePolicy::*kSetter)(bool), bool kValue = true>
absl::Status SetPolicy(Parsed& parsed, absl::string_view /*value*/) {
  (parsed.fuse().*kSetter)(kValue);
  return absl::OkStatus();
}

constexpr Option kOptions[] = {
    {"shared-dir", 0, Takes::kValue, "PATH",
     [](Parsed& parsed, absl::string_view value) {
       parsed.shared_dir = std::string(value);
       return absl::OkStatus();
     },
     "The directory to share"},
    {"tag", 0, Takes::kValue, "NAME", SetTag,
     "What the guest mounts by; offered to the monitor as device configuration, which QEMU 7.1 to "
     "8.0 do not survive"},
    {"socket-path", 0, Takes::kValue, "PATH",
     [](Parsed& parsed, absl::string_view value) {
       parsed.line.socket_path = std::string(value);
       return absl::OkStatus();
     },
     "The socket to make and listen on, for one connection; PATH.pid gets the process id"},
    {"socket", 0, Takes::kValue, "PATH",
     [](Parsed& parsed, absl::string_view value) {
       parsed.old_socket = std::string(value);
       return absl::OkStatus();
     },
     "The same [deprecated]"},
    {"socket-group", 0, Takes::kValue, "NAME",
     [](Parsed& parsed, absl::string_view value) {
       parsed.serve().set_socket_group(std::string(value));
       parsed.has_socket_group = true;
       return absl::OkStatus();
     },
     "The group that may connect, too"},
    {"fd", 0, Takes::kValue, "N", SetFd,
     "The socket by descriptor: listening, or connected already"},
    {"thread-pool-size", 0, Takes::kValue, "N", SetThreadPoolSize,
     "Threads for requests that may wait for a disk; 0: none [default: as needed]"},
    {"xattr", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_xattr>, "Extended attributes"},
    {"posix-acl", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_posix_acl>,
     "POSIX ACLs; implies --xattr"},
    {"xattrmap", 0, Takes::kValue, "RULES", SetXattrMap,
     "How names of extended attributes are translated, such as :map::user.virtiofs.:; implies "
     "--xattr"},
    {"sandbox", 0, Takes::kValue, "MODE", SetSandbox,
     "How the process is isolated: namespace, chroot, none [default: namespace]"},
    {"readonly", 0, Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.serve().set_readonly(true);
       return absl::OkStatus();
     },
     "The guest can change nothing"},
    {"seccomp", 0, Takes::kValue, "ACTION", SetSeccomp,
     "What a system call outside the list does: none, kill, log, trap [default: kill]"},
    {"announce-submounts", 0, Takes::kNothing, "",
     SetPolicy<&FusePolicy::set_no_announce_submounts, false>,
     "Tell the guest which directories are mount points [default]"},
    {"no-announce-submounts", 0, Takes::kNothing, "",
     SetPolicy<&FusePolicy::set_no_announce_submounts>, "Do not tell"},
    {"inode-file-handles", 0, Takes::kValueAfterEquals, "MODE", SetInodeFileHandles,
     "Hold known files by file handle instead of a descriptor: never, prefer, mandatory [default: "
     "never]"},
    {"cache", 0, Takes::kValue, "POLICY", SetCache,
     "How long the guest may believe what it was told: auto, always, never, metadata [default: "
     "auto]"},
    {"allow-mmap", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_allow_mmap>,
     "With --cache=metadata or never: files may be mapped shared"},
    {"no-readdirplus", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_no_readdirplus>,
     "List directories without attributes"},
    {"writeback", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_writeback>,
     "The guest may keep back what it writes"},
    {"allow-direct-io", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_allow_direct_io>,
     "O_DIRECT of the guest's programs is passed on"},
    {"print-capabilities", 0, Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.line.action = CommandLine::Action::kPrintCapabilities;
       return absl::OkStatus();
     },
     "Print what vhost-user management wants to know, and exit"},
    {"modcaps", 0, Takes::kValue, "LIST",
     [](Parsed& parsed, absl::string_view value) {
       parsed.serve().set_modcaps(std::string(value));
       return absl::OkStatus();
     },
     "Change the capabilities that are kept, such as +sys_admin:-chown"},
    {"log-level", 0, Takes::kValue, "LEVEL", SetLogLevel,
     "error, warn, info, debug, trace, off [default: info]; GOFER_LOG_LEVEL counts more"},
    {"syslog", 0, Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.serve().set_syslog(true);
       return absl::OkStatus();
     },
     "Log to syslog instead of stderr"},
    {"rlimit-nofile", 0, Takes::kValue, "N", SetRlimitNofile,
     "Limit of open descriptors; 0 leaves it alone [default: 1000000, or fs.nr_open if less]"},
    {"no-killpriv-v2", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_killpriv_v2, false>,
     "The guest drops set-id bits of files it writes to [default]"},
    {"killpriv-v2", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_killpriv_v2>,
     "They are dropped here"},
    {"security-label", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_security_label>,
     "New files get the security label that the guest sends along; implies --xattr"},
    {"uid-map", 0, Takes::kValue, "RANGE", AddUidMap,
     "Without root: users of the namespace, :INSIDE:OUTSIDE:COUNT:; repeatable"},
    {"gid-map", 0, Takes::kValue, "RANGE", AddGidMap, "The same for groups"},
    {"translate-uid", 0, Takes::kValue, "RULE", AddTranslateUid,
     "Translate users between guest and host: guest, host, squash-guest, squash-host, map with "
     ":FROM:TO:COUNT, forbid-guest with :FROM:COUNT; repeatable"},
    {"translate-gid", 0, Takes::kValue, "RULE", AddTranslateGid, "The same for groups"},
    {"preserve-noatime", 0, Takes::kNothing, "", SetPolicy<&FusePolicy::set_preserve_noatime>,
     "O_NOATIME of the guest's programs is passed on"},
    {"migration-mode", 0, Takes::kValue, "MODE", SetMigrationMode,
     "How files are named to the destination: find-paths, file-handles [default: find-paths]"},
    {"migration-on-error", 0, Takes::kValue, "ACTION", SetMigrationOnError,
     "A file that the destination does not find: abort, guest-error [default: abort]"},
    {"migration-verify-handles", 0, Takes::kNothing, "",
     SetPolicy<&FusePolicy::set_migration_verify_handles>,
     "With find-paths: the destination compares file handles"},
    {"migration-confirm-paths", 0, Takes::kNothing, "",
     SetPolicy<&FusePolicy::set_migration_confirm_paths>,
     "With find-paths: look at all paths once more when the guest is stopped"},
    {"", 'o', Takes::kValue, "OPTIONS",
     [](Parsed& parsed, absl::string_view value) {
       parsed.compat.emplace_back(value);
       return absl::OkStatus();
     },
     "Options of the older virtiofsd, separated by commas [deprecated]"},
    {"", 'd', Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.debug = true;
       return absl::OkStatus();
     },
     "--log-level=debug [deprecated]"},
    {"", 'f', Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.foreground = true;
       return absl::OkStatus();
     },
     "Has no effect [deprecated]"},
    {"help", 'h', Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.line.action = CommandLine::Action::kHelp;
       return absl::OkStatus();
     },
     "Print this, and exit"},
    {"version", 'V', Takes::kNothing, "",
     [](Parsed& parsed, absl::string_view) {
       parsed.line.action = CommandLine::Action::kVersion;
       return absl::OkStatus();
     },
     "Print the version, and exit"},
};

// What may stand in -o; what takes a value has it after "=".
struct CompatOption {
  absl::string_view name;
  bool has_value;
  Set set;
};

absl::Status Ignore(Parsed&, absl::string_view) { return absl::OkStatus(); }

// Here the policy of --cache=never is called none, and none of the others is known by another case.
absl::Status SetCompatCache(Parsed& parsed, absl::string_view value) {
  for (const absl::string_view known : {"auto", "always", "none", "metadata"}) {
    if (value == known) return SetCache(parsed, value == "none" ? "never" : value);
  }
  return Invalid("is not one of auto, always, none, metadata");
}

absl::Status SetCompatLogLevel(Parsed& parsed, absl::string_view value) {
  for (const absl::string_view known : {"debug", "info", "warn", "err"}) {
    if (value == known) return SetLogLevel(parsed, value == "err" ? "error" : value);
  }
  return Invalid("is not one of debug, info, warn, err");
}

absl::Status SetCompatSandbox(Parsed& parsed, absl::string_view value) {
  if (value == "namespace" || value == "chroot") return SetSandbox(parsed, value);
  return Invalid("is not one of namespace, chroot");
}

constexpr CompatOption kCompatOptions[] = {
    {"xattrmap", true, SetXattrMap},
    {"cache", true, SetCompatCache},
    {"loglevel", true, SetCompatLogLevel},
    {"sandbox", true, SetCompatSandbox},
    {"source", true,
     [](Parsed& parsed, absl::string_view value) {
       parsed.shared_dir = std::string(value);
       return absl::OkStatus();
     }},
    {"modcaps", true,
     [](Parsed& parsed, absl::string_view value) {
       parsed.serve().set_modcaps(std::string(value));
       return absl::OkStatus();
     }},
    {"xattr", false, SetPolicy<&FusePolicy::set_xattr>},
    {"no_xattr", false, SetPolicy<&FusePolicy::set_xattr, false>},
    {"readdirplus", false, SetPolicy<&FusePolicy::set_no_readdirplus, false>},
    {"no_readdirplus", false, SetPolicy<&FusePolicy::set_no_readdirplus>},
    {"writeback", false, SetPolicy<&FusePolicy::set_writeback>},
    {"no_writeback", false, SetPolicy<&FusePolicy::set_writeback, false>},
    {"allow_direct_io", false, SetPolicy<&FusePolicy::set_allow_direct_io>},
    {"no_allow_direct_io", false, SetPolicy<&FusePolicy::set_allow_direct_io, false>},
    // What an option says against it stays.
    {"announce_submounts", false, Ignore},
    {"killpriv_v2", false, SetPolicy<&FusePolicy::set_killpriv_v2>},
    {"no_killpriv_v2", false, SetPolicy<&FusePolicy::set_killpriv_v2, false>},
    {"posix_acl", false, SetPolicy<&FusePolicy::set_posix_acl>},
    {"no_posix_acl", false, SetPolicy<&FusePolicy::set_posix_acl, false>},
    {"security_label", false, SetPolicy<&FusePolicy::set_security_label>},
    {"no_security_label", false, SetPolicy<&FusePolicy::set_security_label, false>},
    {"no_posix_lock", false, Ignore},
    {"no_flock", false, Ignore},
};

absl::Status ApplyCompat(Parsed& parsed, absl::string_view text) {
  const size_t equals = text.find('=');
  const bool has_value = equals != absl::string_view::npos;
  for (const CompatOption& option : kCompatOptions) {
    if (option.name != text.substr(0, equals) || option.has_value != has_value) continue;
    const absl::Status set = option.set(parsed, has_value ? text.substr(equals + 1) : "");
    return set.ok() ? set : Invalid(absl::StrCat("-o ", text, ": ", set.message()));
  }
  return Invalid(absl::StrCat("-o ", text, ": there is no such option"));
}

std::string Shown(const Option& option) {
  return option.name.empty() ? std::string{'-', option.letter} : absl::StrCat("--", option.name);
}

absl::Status Apply(const Option& option, Parsed& parsed, absl::string_view value) {
  const absl::Status set = option.set(parsed, value);
  return set.ok() ? set : Invalid(absl::StrCat(Shown(option), "=", value, ": ", set.message()));
}

// The words of the command line, one option after the other.
class Words {
 public:
  explicit Words(const std::vector<std::string>& words) : left_(words) {}

  absl::Status ParseInto(Parsed& parsed) {
    while (!left_.empty()) {
      const absl::string_view word = Next();
      if (absl::StartsWith(word, "--") && word.size() > 2) {
        RETURN_IF_ERROR(ParseLong(word.substr(2), parsed));
      } else if (absl::StartsWith(word, "-") && word.size() > 1 && word != "--") {
        RETURN_IF_ERROR(ParseLetters(word.substr(1), parsed));
      } else {
        return Invalid(absl::StrCat("argument \"", word, "\" is no option"));
      }
      // As good as any other end: nothing of the rest matters.
      if (parsed.line.action == CommandLine::Action::kHelp ||
          parsed.line.action == CommandLine::Action::kVersion) {
        return absl::OkStatus();
      }
    }
    return absl::OkStatus();
  }

 private:
  absl::string_view Next() {
    const absl::string_view word = left_.front();
    left_ = left_.subspan(1);
    return word;
  }

  // The value that stands in the next word; one that begins with "-" would be an option.
  absl::StatusOr<absl::string_view> NextValue(const Option& option) {
    const bool there = !left_.empty() && (left_.front() == "-" || left_.front()[0] != '-');
    if (option.takes == Takes::kValue && there) return Next();
    return Invalid(absl::StrCat(Shown(option), " needs a value",
                                option.takes == Takes::kValue ? "" : " after \"=\"", ", ",
                                option.value));
  }

  absl::Status ParseLong(absl::string_view text, Parsed& parsed) {
    const size_t equals = text.find('=');
    const absl::string_view name = text.substr(0, equals);
    for (const Option& option : kOptions) {
      if (option.name.empty() || option.name != name) continue;
      if (option.takes == Takes::kNothing) {
        if (equals == absl::string_view::npos) return Apply(option, parsed, "");
        return Invalid(absl::StrCat("--", text, ": takes no value"));
      }
      if (equals != absl::string_view::npos) return Apply(option, parsed, text.substr(equals + 1));
      ASSIGN_OR_RETURN(const absl::string_view value, NextValue(option));
      return Apply(option, parsed, value);
    }
    return Invalid(absl::StrCat("there is no option --", name));
  }

  // Several letters may share a dash; the value of the last one may follow at once.
  absl::Status ParseLetters(absl::string_view letters, Parsed& parsed) {
    while (!letters.empty()) {
      const char letter = letters[0];
      letters.remove_prefix(1);
      const auto option =
          std::find_if(std::begin(kOptions), std::end(kOptions),
                       [&](const Option& candidate) { return candidate.letter == letter; });
      if (option == std::end(kOptions)) {
        return Invalid(absl::StrCat("there is no option -", std::string{letter}));
      }
      if (option->takes == Takes::kNothing) {
        RETURN_IF_ERROR(Apply(*option, parsed, ""));
        continue;
      }
      if (letters.empty()) {
        ASSIGN_OR_RETURN(letters, NextValue(*option));
      } else if (letters[0] == '=') {
        letters.remove_prefix(1);
      }
      return Apply(*option, parsed, letters);
    }
    return absl::OkStatus();
  }

  std::span<const std::string> left_;
};

// What no option can say alone. Whether there is a socket at all depends on the environment too.
absl::Status CheckTogether(const Parsed& parsed) {
  const CommandLine& line = parsed.line;
  if (line.fd.has_value() && (line.socket_path.has_value() || parsed.old_socket.has_value())) {
    return Invalid("--fd cannot be used with --socket-path or --socket");
  }
  if (line.fd.has_value() && parsed.has_socket_group) {
    return Invalid("--socket-group cannot be used with --fd: its socket has its group already");
  }
  const bool prints = line.action == CommandLine::Action::kPrintCapabilities;
  if (prints && parsed.has_socket_group) {
    return Invalid("--socket-group cannot be used with --print-capabilities");
  }
  const FusePolicy& policy = line.serve.fuse();
  if (policy.posix_acl() && (!policy.translate_uid().empty() || !policy.translate_gid().empty())) {
    return Invalid(
        "--posix-acl cannot be used with --translate-uid or --translate-gid: the ids in an ACL "
        "are not translated");
  }
  if (!prints && !parsed.shared_dir.has_value() && parsed.compat.empty()) {
    return Invalid("--shared-dir is missing: the directory to share");
  }
  return absl::OkStatus();
}

void AddWarnings(Parsed& parsed) {
  std::vector<std::string>& warnings = parsed.line.warnings;
  if (parsed.foreground) warnings.emplace_back("-f is deprecated and has no effect");
  if (parsed.debug) warnings.emplace_back("-d is deprecated: use --log-level=debug");
  if (!parsed.compat.empty()) {
    warnings.emplace_back(
        "-o is deprecated: give its options by themselves, such as --cache=auto for -o cache=auto");
  }
  if (parsed.fallback) {
    warnings.emplace_back(
        "--inode-file-handles=fallback is deprecated: use --inode-file-handles=prefer");
  }
  if (parsed.old_socket.has_value() && !parsed.line.socket_path.has_value()) {
    warnings.emplace_back("--socket is deprecated: use --socket-path");
  }
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  Parsed parsed;
  if (arguments.empty()) {
    parsed.line.action = CommandLine::Action::kHelpForNothing;
    return parsed.line;
  }
  parsed.serve().set_ready_fd(-1);
  RETURN_IF_ERROR(Words(arguments).ParseInto(parsed));
  if (parsed.line.action == CommandLine::Action::kHelp ||
      parsed.line.action == CommandLine::Action::kVersion) {
    return parsed.line;
  }
  for (const std::string& list : parsed.compat) {
    for (const absl::string_view option : absl::StrSplit(list, ',')) {
      RETURN_IF_ERROR(ApplyCompat(parsed, option));
    }
  }
  RETURN_IF_ERROR(CheckTogether(parsed));
  AddWarnings(parsed);

  CommandLine& line = parsed.line;
  if (!line.socket_path.has_value()) line.socket_path = parsed.old_socket;
  if (parsed.debug) parsed.serve().set_log_level(server::LOG_LEVEL_DEBUG);
  parsed.serve().set_root(parsed.shared_dir.value_or(""));
  // What virtiofsd does without being asked.
  parsed.serve().set_donate_fds(server::DONATE_NEVER);
  parsed.serve().set_pid_namespace(line.serve.sandbox() == server::SANDBOX_NAMESPACE);
  parsed.serve().set_follow_host_mounts(true);
  parsed.fuse().set_make_devices(true);
  parsed.fuse().set_file_capabilities(true);
  parsed.fuse().set_creds(server::CREDS_SWITCH);
  return std::move(line);
}

std::string Help() {
  std::string text =
      "Launch a virtiofsd backend.\n\n"
      "Usage: virtiofsd --shared-dir <PATH> --socket-path <PATH> [OPTIONS]\n\nOptions:\n";
  for (const Option& option : kOptions) {
    std::string forms = option.letter != 0 ? std::string{'-', option.letter} : "    ";
    if (!option.name.empty()) {
      absl::StrAppend(&forms, option.letter != 0 ? ", --" : "--", option.name);
    }
    if (!option.value.empty()) {
      absl::StrAppend(&forms, option.takes == Takes::kValueAfterEquals ? "=<" : " <", option.value,
                      ">");
    }
    absl::StrAppend(&text, "  ", forms, "\n          ", option.help, "\n");
  }
  return text;
}

}  // namespace gofer::virtiofsd
