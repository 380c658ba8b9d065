#include "gofer/runsc/command_line.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/go_flags.h"

namespace gofer::runsc {
namespace {

template <typename Value>
struct Choice {
  absl::string_view text;
  Value value;
};

// A flag with a fixed set of values.
template <typename Value, size_t kCount>
std::function<absl::Status(absl::string_view)> OneOf(const Choice<Value> (&choices)[kCount],
                                                     Value* target) {
  return [&choices, target](absl::string_view text) {
    for (const Choice<Value>& choice : choices) {
      if (choice.text != text) continue;
      *target = choice.value;
      return absl::OkStatus();
    }
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not one of its values"));
  };
}

constexpr Choice<HostUds> kHostUds[] = {{"none", HostUds::kNone},
                                        {"open", HostUds::kOpen},
                                        {"create", HostUds::kCreate},
                                        {"all", HostUds::kAll}};
constexpr Choice<bool> kHostFifo[] = {{"none", false}, {"open", true}};
constexpr Choice<CharacterDevices> kCharacterDevices[] = {
    {"emulated-only", CharacterDevices::kEmulatedOnly},
    {"prefer-emulated", CharacterDevices::kPreferEmulated},
    {"passthrough", CharacterDevices::kPassthrough}};

// none, or {root,all}:MEDIUM[,size]; where the medium is does not matter to the gofer.
absl::Status SetOverlay2(absl::string_view text, Overlay* overlay) {
  if (text == "none" || text.empty()) {
    *overlay = {};
  } else if (absl::StartsWith(text, "root:")) {
    *overlay = {.root = true, .mounts = false};
  } else if (absl::StartsWith(text, "all:")) {
    *overlay = {.root = true, .mounts = true};
  } else {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is neither none nor {root,all}:{memory,self,dir=PATH}"));
  }
  return absl::OkStatus();
}

// Binds the flags whose names are the same on the command line and in annotations.
void BindConfig(GoFlags& flags, Config& config) {
  flags.Bool("directfs", &config.directfs)
      .Custom("host-uds", OneOf(kHostUds, &config.host_uds))
      .OnBool("fsgofer-host-uds",
              [&config](bool all) {
                if (all) config.host_uds = HostUds::kAll;
              })
      .Custom("host-fifo", OneOf(kHostFifo, &config.host_fifo))
      .Custom("character-device-policy", OneOf(kCharacterDevices, &config.character_devices))
      .Custom("overlay2",
              [&config](absl::string_view text) { return SetOverlay2(text, &config.overlay); })
      .OnBool("overlay",
              [&config](bool all) {
                if (all) config.overlay = {.root = true, .mounts = true};
              })
      .Int("fdlimit", &config.fd_limit)
      .Bool("debug", &config.debug)
      .Bool("nvproxy", &config.nvproxy)
      .Bool("tpuproxy", &config.tpuproxy);
}

absl::Status SetId(absl::string_view text, uint32_t* id) {
  if (absl::SimpleAtoi(text, id) && *id != ~0u) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not an id"));
}

absl::Status ParseConfig(std::span<const std::string>& arguments, CommandLine& line) {
  GoFlags flags;
  BindConfig(flags, line.config);
  flags.Bool("TESTONLY-unsafe-nonroot", &line.config.unsafe_nonroot)
      .Bool("allow-flag-override", &line.config.allow_flag_override)
      .Int("log-fd", &line.log_fd)
      .Int("debug-log-fd", &line.debug_log_fd);
  flags.OnUnknown([](absl::string_view, absl::string_view) { return absl::OkStatus(); });
  ASSIGN_OR_RETURN(arguments, flags.Parse(arguments));
  return absl::OkStatus();
}

absl::Status ParseGofer(std::span<const std::string>& arguments, CommandLine& line,
                        bool& has_confs) {
  GoFlags flags;
  flags.String("bundle", &line.bundle)
      .Int("spec-fd", &line.spec_fd)
      .Int("mounts-fd", &line.mounts_fd)
      .Ints("io-fds", &line.io_fds)
      .Custom("gofer-mount-confs",
              [&](absl::string_view text) -> absl::Status {
                has_confs = true;
                ASSIGN_OR_RETURN(std::vector<MountConf> confs, ParseMountConfs(text));
                line.mount_confs.insert(line.mount_confs.end(), confs.begin(), confs.end());
                return absl::OkStatus();
              })
      .Int("dev-io-fd", &line.dev_io_fd)
      .OnBool("apply-caps", [](bool) {})  // dropping those that are gone already does no harm
      .Bool("setup-root", &line.setup_root)
      .Int("sync-userns-fd", &line.sync_userns_fd)
      .Int("sync-nvproxy-fd", &line.sync_nvproxy_fd)
      .Int("sync-chroot-fd", &line.sync_chroot_fd)
      .Int("rpc-fd", &line.rpc_fd)
      .Int("sync-sentry-exit-fd", &line.sync_sentry_exit_fd)
      .Custom("uid", [&](absl::string_view text) { return SetId(text, &line.uid); })
      .Custom("gid", [&](absl::string_view text) { return SetId(text, &line.gid); });
  // Descriptors of flags that came after this was written are somebody's: they stay open.
  flags.OnUnknown([&](absl::string_view name, absl::string_view value) {
    int fd;
    if (!absl::EndsWith(name, "-fd") || !absl::SimpleAtoi(value, &fd)) {
      return absl::InvalidArgumentError(absl::StrCat("unknown flag --", name));
    }
    line.held_fds.push_back(fd);
    return absl::OkStatus();
  });
  ASSIGN_OR_RETURN(arguments, flags.Parse(arguments));
  return absl::OkStatus();
}

}  // namespace

std::vector<int> CommandLine::Descriptors() const {
  std::vector<int> all = {log_fd,    debug_log_fd,       spec_fd,        mounts_fd,
                          dev_io_fd, sync_nvproxy_fd,    sync_chroot_fd, sync_userns_fd,
                          rpc_fd,    sync_sentry_exit_fd};
  all.insert(all.end(), io_fds.begin(), io_fds.end());
  all.insert(all.end(), held_fds.begin(), held_fds.end());
  std::erase(all, -1);
  return all;
}

absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments) {
  CommandLine line;
  RETURN_IF_ERROR(ParseConfig(arguments, line));
  if (arguments.empty() || arguments.front() != "gofer") {
    return absl::InvalidArgumentError(absl::StrCat(
        "command \"", arguments.empty() ? "" : arguments.front(), "\" is not \"gofer\""));
  }
  arguments = arguments.subspan(1);
  bool has_confs = false;
  RETURN_IF_ERROR(ParseGofer(arguments, line, has_confs));

  if (arguments.size() > 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("argument \"", arguments[1], "\" after the container id"));
  }
  if (!arguments.empty()) line.container_id = arguments.front();
  if (has_confs) {
    const bool newest = line.rpc_fd >= 0 || !line.container_id.empty();
    line.version = newest ? Version::kV26 : Version::kV24;
  }
  if (line.bundle.empty()) return absl::InvalidArgumentError("--bundle is missing");
  if (line.spec_fd < 0) return absl::InvalidArgumentError("--spec-fd is missing");
  if (line.io_fds.empty()) return absl::InvalidArgumentError("--io-fds is missing");
  return line;
}

absl::Status ApplyAnnotations(const oci::Spec& spec, Config& config) {
  GoFlags flags;
  BindConfig(flags, config);
  for (const auto& [annotation, value] : spec.annotations()) {
    absl::string_view name = annotation;
    if (!absl::ConsumePrefix(&name, "dev.gvisor.flag.")) continue;
    if (!config.allow_flag_override && name != "debug") continue;
    const absl::Status set = flags.Set(name, value);
    if (!set.ok() && !absl::IsNotFound(set)) {
      return absl::InvalidArgumentError(
          absl::StrCat("annotation ", annotation, ": ", set.message()));
    }
  }
  return absl::OkStatus();
}

}  // namespace gofer::runsc
