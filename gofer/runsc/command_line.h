// The command line with which runsc starts its gofer, as typed values, for all three versions of
// it:
//
//   runsc-gofer <config flags> [--log-fd=N] [--debug-log-fd=N] gofer --bundle DIR <gofer flags>
//   [<container id>]
//
// Config flags that the gofer does not know are ignored: every release brings new ones.
//
// Errors:  InvalidArgument, to be reported as wrong use. Threads: values.
// Source:  spec/runsc-gofer-launch.md s.2.

#ifndef GOFER_RUNSC_COMMAND_LINE_H_
#define GOFER_RUNSC_COMMAND_LINE_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/runsc/mount_confs.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

// The generations of the contract, named by year: V22 before 2023-10, V24 to 2024-11, V26 after.
enum class Version { kV22, kV24, kV26 };

enum class HostUds { kNone, kOpen, kCreate, kAll };
enum class CharacterDevices { kEmulatedOnly, kPreferEmulated, kPassthrough };

// What --overlay2 puts a writable layer of the sandbox over. Decides in V22 only; later the confs
// say it.
struct Overlay {
  bool root = false;
  bool mounts = false;
};

// The configuration of runsc that changes what its gofer does.
struct Config {
  std::optional<bool> directfs;
  HostUds host_uds = HostUds::kNone;
  bool host_fifo = false;
  CharacterDevices character_devices = CharacterDevices::kEmulatedOnly;
  Overlay overlay;
  int fd_limit = -1;  // -1: leave to the gofer
  bool debug = false;
  bool unsafe_nonroot = false;
  bool allow_flag_override = false;
  bool nvproxy = false;
  bool tpuproxy = false;
};

// Descriptors by number, -1 where there is none.
struct CommandLine {
  Version version = Version::kV22;
  Config config;

  int log_fd = -1;
  int debug_log_fd = -1;

  std::string bundle;
  int spec_fd = -1;
  int mounts_fd = -1;
  std::vector<int> io_fds;
  std::vector<MountConf> mount_confs;
  int dev_io_fd = -1;
  bool setup_root = true;
  int sync_nvproxy_fd = -1;
  int sync_chroot_fd = -1;
  int sync_userns_fd = -1;
  int rpc_fd = -1;
  int sync_sentry_exit_fd = -1;
  uint32_t uid = 0;
  uint32_t gid = 0;
  // Held open and never used: the ring's, profiles', and those of flags that are not known yet.
  std::vector<int> held_fds;
  std::string container_id;

  // All that are given.
  std::vector<int> Descriptors() const;
  // directfs: the sandbox gets the mount points themselves.
  bool DonatesMountPoints() const { return config.directfs.value_or(version != Version::kV22); }
  // V22 and V24 know no policy for them.
  bool OpensCharacterDevices() const {
    return version != Version::kV26 || config.character_devices != CharacterDevices::kEmulatedOnly;
  }
};

// `arguments` without argv[0].
absl::StatusOr<CommandLine> ParseCommandLine(std::span<const std::string> arguments);

// dev.gvisor.flag.* annotations override config flags where --allow-flag-override permits it.
// Without it runsc lets only flags pass that loosen nothing; of those the gofer knows `debug`.
absl::Status ApplyAnnotations(const oci::Spec& spec, Config& config);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_COMMAND_LINE_H_
