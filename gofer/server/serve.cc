#include "gofer/server/serve.h"

#include <stdlib.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "checkpoint/fuse_codec.h"
#include "fuse/dev/dev_fuse.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/control/control.pb.h"
#include "gofer/control/peer_judge.h"
#include "gofer/control/server.h"
#include "gofer/fs/filesystem.h"
#include "gofer/server/about.h"
#include "gofer/server/confinement_report.h"
#include "gofer/server/control_way.h"
#include "gofer/server/fuse_options.h"
#include "gofer/server/fuse_way.h"
#include "gofer/server/lisafs_way.h"
#include "gofer/server/listener.h"
#include "gofer/server/log_output.h"
#include "gofer/server/options.h"
#include "gofer/server/pid_file.h"
#include "gofer/server/restoration.h"
#include "gofer/server/run_loop.h"
#include "gofer/server/sandbox.h"
#include "gofer/server/service_process.h"
#include "gofer/server/user_namespace.h"
#include "gofer/server/vhost_user_way.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"
#include "lisafs/server/server.h"

namespace gofer::server {
namespace {

lisafs::HostUds ToLisafs(HostUds policy) {
  switch (policy) {
    case HOST_UDS_OPEN:
      return lisafs::HostUds::kOpen;
    case HOST_UDS_CREATE:
      return lisafs::HostUds::kCreate;
    case HOST_UDS_ALL:
      return lisafs::HostUds::kAll;
    default:
      return lisafs::HostUds::kNone;
  }
}

SeccompMode ToMode(SeccompName name) {
  switch (name) {
    case SECCOMP_TRAP:
      return SeccompMode::kTrap;
    case SECCOMP_LOG:
      return SeccompMode::kLog;
    case SECCOMP_NONE:
      return SeccompMode::kNone;
    default:
      return kDefaultSeccompMode;
  }
}

std::vector<AddedMount> ToAddedMounts(const ServeOptions& options) {
  std::vector<AddedMount> mounts;
  for (const Mount& mount : options.mounts()) {
    mounts.push_back(
        {.source = mount.source(), .path = mount.path(), .read_only = mount.readonly()});
  }
  return mounts;
}

SandboxMode ToMode(SandboxName name) {
  switch (name) {
    case SANDBOX_CHROOT:
      return SandboxMode::kChroot;
    case SANDBOX_NONE:
      return SandboxMode::kNone;
    default:
      return SandboxMode::kNamespace;
  }
}

bool HasVhostUser(const ServeOptions& options) {
  return options.vhost_user_socket_size() + options.vhost_user_fd_size() > 0;
}

bool HasFuseClients(const ServeOptions& options) {
  return HasVhostUser(options) || options.fuse_mountpoint_size() + options.fuse_fd_size() > 0;
}

bool IsListening(int fd) {
  const ErrnoOr<bool> listens = sys::IsListening(BorrowedFd(fd));
  return listens.ok() && *listens;
}

bool HasControl(const ServeOptions& options) {
  return !options.control_socket().empty() || options.has_control_fd();
}

// Whether connections are accepted when the process is confined.
bool Listens(const ServeOptions& options) {
  return options.lisafs_socket_size() + options.vhost_user_socket_size() > 0 ||
         !options.control_socket().empty() ||
         (options.has_control_fd() && IsListening(options.control_fd())) ||
         std::any_of(options.vhost_user_fd().begin(), options.vhost_user_fd().end(), IsListening);
}

// For clients that are not FUSE's they would only be in the way.
fs::FileHandles ToFileHandles(const ServeOptions& options) {
  if (!HasFuseClients(options)) return fs::FileHandles::kNever;
  switch (options.fuse().inode_file_handles()) {
    case INODE_FILE_HANDLES_PREFER:
      return fs::FileHandles::kPrefer;
    case INODE_FILE_HANDLES_MANDATORY:
      return fs::FileHandles::kMandatory;
    default:
      return fs::FileHandles::kNever;
  }
}

absl::StatusOr<Confinement> ToConfinement(const ServeOptions& options) {
  const lisafs::HostUds uds = ToLisafs(options.host_uds());
  const FusePolicy& policy = options.fuse();
  const bool fuse = HasFuseClients(options);
  const bool switch_ids = fuse && policy.creds() == CREDS_SWITCH;
  const bool devices = fuse && policy.make_devices();
  const bool handles = fuse && policy.inode_file_handles() != INODE_FILE_HANDLES_NEVER;
  Confinement confinement = {
      .capabilities = {.switch_ids = switch_ids || lisafs::MayConnect(uds),
                       .make_devices = devices,
                       .set_file_capabilities = fuse && policy.file_capabilities(),
                       .open_by_handle = handles},
      .seccomp = {.mode = ToMode(options.seccomp()),
                  .listen = Listens(options),
                  .host_sockets_open = lisafs::MayConnect(uds),
                  .host_sockets_make = lisafs::MayBind(uds),
                  .host_fifos = options.host_fifo() == HOST_FIFO_OPEN,
                  .fuse = fuse,
                  .fuse_identity = switch_ids,
                  .fuse_devices = devices,
                  .vhost_user = HasVhostUser(options),
                  .control = HasControl(options),
                  .file_handles = handles},
      .landlock = {.wanted = options.landlock() == LANDLOCK_AUTO,
                   .read_only = options.readonly(),
                   .make_special_files = fuse || lisafs::MayBind(uds),
                   .make_devices = devices,
                   .file_handles = handles}};
  if (!options.modcaps().empty()) {
    RETURN_IF_ERROR(ModifyCapabilities(options.modcaps(), confinement.capabilities));
  }
  return confinement;
}

lisafs::ServerOptions ToServerOptions(const ServeOptions& options) {
  lisafs::ServerOptions made = {.personality = lisafs::Personality::kV26,
                                .host_uds = ToLisafs(options.host_uds()),
                                .host_fifo_open = options.host_fifo() == HOST_FIFO_OPEN,
                                .character_device_open = false,
                                .donate_fds = options.donate_fds() == DONATE_AUTO,
                                .donate_mount_fd = false};
  if (options.max_connections() > 0) made.max_connections = options.max_connections();
  if (options.max_channels() > 0) made.max_channels = options.max_channels();
  return made;
}

std::vector<int> NamedDescriptors(const ServeOptions& options) {
  std::vector<int> fds;
  for (const LisafsFd& way : options.lisafs_fd()) fds.push_back(way.fd());
  for (const int fd : options.vhost_user_fd()) fds.push_back(fd);
  for (const int fd : options.fuse_fd()) fds.push_back(fd);
  if (options.has_control_fd()) fds.push_back(options.control_fd());
  if (options.ready_fd() >= 0) fds.push_back(options.ready_fd());
  fds.push_back(LogDescriptor());
  return fds;
}

absl::Status CheckSocket(absl::string_view flag, int fd) {
  const ErrnoOr<bool> listens = sys::IsListening(BorrowedFd(fd));
  if (listens.ok()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", flag, "=", fd, ": ", listens.error().ToString(),
                   "; hand down a unix stream socket, listening or connected, under this number"));
}

absl::Status CheckDescriptors(const ServeOptions& options) {
  for (const LisafsFd& way : options.lisafs_fd()) {
    const ErrnoOr<void> checked = sys::CheckConnectedStream(BorrowedFd(way.fd()));
    if (checked.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--lisafs_fd=", way.fd(), ": ", checked.error().ToString(),
                     "; hand down one end of a connected unix stream socket under this number"));
  }
  for (const int fd : options.fuse_fd()) RETURN_IF_ERROR(FuseWay::Check(fd));
  for (const int fd : options.vhost_user_fd()) RETURN_IF_ERROR(CheckSocket("vhost_user_fd", fd));
  if (options.has_control_fd()) RETURN_IF_ERROR(CheckSocket("control_fd", options.control_fd()));
  if (options.ready_fd() >= 0 && !sys::IsOpen(options.ready_fd())) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ready_fd=", options.ready_fd(), ": is not an open descriptor"));
  }
  return absl::OkStatus();
}

// Tells whoever waits for it, by both ways that there are.
class Readiness {
 public:
  // Before the environment is cleared and the host's sockets are out of reach.
  static absl::StatusOr<Readiness> Prepare(int ready_fd) {
    Readiness readiness;
    if (const char* const address = getenv("NOTIFY_SOCKET");
        address != nullptr && *address != '\0') {
      ErrnoOr<UniqueFd> socket = sys::ConnectDatagram(address);
      if (!socket.ok()) return ToStatus(socket.error(), absl::StrCat("NOTIFY_SOCKET=", address));
      readiness.notify_socket_ = *std::move(socket);
    }
    readiness.ready_fd_ = UniqueFd(ready_fd);
    return readiness;
  }

  std::vector<int> Descriptors() const { return {notify_socket_.get()}; }

  // Has a service manager keep a mount, for whoever is started next: it comes as descriptor 3 and
  // above then, see sd_pass_fds_with_names(3). One that it has already is kept once, and it lets go
  // of it when the mount is gone.
  void Keep(BorrowedFd fuse) const {
    if (!notify_socket_.valid()) return;
    std::string text = "FDSTORE=1\nFDNAME=fuse";
    struct iovec part = {.iov_base = text.data(), .iov_len = text.size()};
    const ErrnoOr<void> sent = sys::SendAll(notify_socket_, {&part, 1}, {&fuse, 1});
    if (!sent.ok()) LOG(WARNING) << "NOTIFY_SOCKET: FDSTORE: " << sent.error().ToString();
  }

  // A waiter that has gone away is no reason not to serve.
  void Announce() {
    if (ready_fd_.valid()) (void)sys::WriteAll(ready_fd_, "\n").ok();
    if (notify_socket_.valid()) (void)sys::WriteAll(notify_socket_, "READY=1").ok();
    ready_fd_.Reset();
    notify_socket_.Reset();
  }

 private:
  UniqueFd ready_fd_;
  UniqueFd notify_socket_;
};

absl::StatusOr<std::vector<ListeningMount>> Listen(const ServeOptions& options) {
  std::vector<ListeningMount> mounts;
  for (const LisafsSocket& way : options.lisafs_socket()) {
    ASSIGN_OR_RETURN(Listener listener, Listener::Create(way.file()));
    mounts.push_back({.listener = std::move(listener),
                      .path = way.path(),
                      .readonly = options.readonly() || way.readonly()});
  }
  return mounts;
}

absl::StatusOr<std::vector<VhostUserSocket>> VhostUserSockets(const ServeOptions& options) {
  std::vector<VhostUserSocket> sockets;
  for (const std::string& file : options.vhost_user_socket()) {
    ASSIGN_OR_RETURN(Listener listener, Listener::Create(file, options.socket_group()));
    sockets.push_back({.fd = std::move(listener).Release(), .listens = true});
  }
  for (const int fd : options.vhost_user_fd()) {
    sockets.push_back({.fd = UniqueFd(fd), .listens = IsListening(fd)});
  }
  return sockets;
}

absl::StatusOr<std::vector<ControlSocket>> ControlSockets(const ServeOptions& options) {
  std::vector<ControlSocket> sockets;
  if (!options.control_socket().empty()) {
    ASSIGN_OR_RETURN(Listener listener, Listener::Create(options.control_socket()));
    sockets.push_back({.fd = std::move(listener).Release(), .listens = true});
  }
  if (options.has_control_fd()) {
    const int fd = options.control_fd();
    sockets.push_back({.fd = UniqueFd(fd), .listens = IsListening(fd)});
  }
  return sockets;
}

// What `gofer status` says of it for as long as it lives.
control::Status About(const ServeOptions& options, uint64_t descriptor_limit,
                      const LandlockState& landlock, bool restored) {
  control::Status about;
  about.set_version(kVersion);
  about.set_pid(sys::ProcessId());
  about.set_root(options.root());
  about.set_readonly(options.readonly());
  about.set_restored(restored);
  about.set_file_descriptors_limit(DescriptorsForFiles(descriptor_limit));
  about.set_sandbox(std::string(NameOf(options.sandbox())));
  about.set_seccomp(std::string(NameOf(options.seccomp())));
  about.set_landlock(landlock.in_force ? "in force" : landlock.why_not);
  return about;
}

absl::StatusOr<std::vector<FuseDevice>> FuseDevices(const ServeOptions& options) {
  std::vector<FuseDevice> devices;
  for (const std::string& directory : options.fuse_mountpoint()) {
    ASSIGN_OR_RETURN(devices.emplace_back(),
                     FuseWay::Prepare(directory, {.source = options.root(),
                                                  .allow_other = options.allow_other(),
                                                  .read_only = options.readonly()}));
  }
  for (const int fd : options.fuse_fd()) {
    ASSIGN_OR_RETURN(devices.emplace_back(), FuseWay::Adopt(UniqueFd(fd)));
  }
  return devices;
}

fs::FilesystemOptions ToFilesystemOptions(const ServeOptions& options, uint64_t descriptor_limit) {
  fs::FilesystemOptions made = {.max_fds = DescriptorsForFiles(descriptor_limit),
                                .file_handles = ToFileHandles(options)};
  if (options.max_nodes() > 0) made.max_nodes = options.max_nodes();
  return made;
}

// Enough for a guest that waits for a disk on many files at once; a pool has as many as it needs.
constexpr uint32_t kDefaultWorkers = 16;

virtio_fs::DeviceOptions ToDeviceOptions(const ServeOptions& options) {
  virtio_fs::DeviceOptions made = {
      .tag = options.tag(),
      .max_workers = options.has_thread_pool_size() ? options.thread_pool_size() : kDefaultWorkers};
  if (options.max_requests() > 0) made.max_requests = options.max_requests();
  return made;
}

control::Limits ToControlLimits(const ServeOptions& options) {
  control::Limits made;
  if (options.max_control_clients() > 0) made.clients = options.max_control_clients();
  if (options.control_request_seconds() > 0) {
    made.request = absl::Seconds(options.control_request_seconds());
  }
  return made;
}

vhost::user::Limits ToGuestLimits(const ServeOptions& options) {
  const auto limit = [](uint64_t given, uint64_t standard) { return given > 0 ? given : standard; };
  const vhost::user::Limits standard;
  return {.queues = static_cast<uint32_t>(limit(options.max_queues(), standard.queues)),
          .ring_entries =
              static_cast<uint32_t>(limit(options.max_ring_entries(), standard.ring_entries)),
          .memory = {.regions = limit(options.max_memory_regions(), standard.memory.regions),
                     .bytes = limit(options.max_memory_bytes(), standard.memory.bytes)}};
}

// Whether one guest has the tree for itself.
bool IsOnlyWayIn(const ServeOptions& options) {
  return options.vhost_user_socket_size() + options.vhost_user_fd_size() +
             options.fuse_mountpoint_size() + options.fuse_fd_size() +
             options.lisafs_socket_size() + options.lisafs_fd_size() ==
         1;
}

checkpoint::DeviceStateOptions ToDeviceStateOptions(const ServeOptions& options) {
  return {
      .version = kVersion,
      .root = options.root(),
      .readonly = options.readonly(),
      .confirm_paths = options.fuse().migration_confirm_paths(),
      // In either mode: a file is known by its numbers and its handle, whatever its name is now.
      .restore = {.follow_moved = true, .keep_numbers = IsOnlyWayIn(options)},
      .mark_mismatches = options.fuse().migration_on_error() == MIGRATION_GUEST_ERROR};
}

absl::StatusOr<uint64_t> SetDescriptorLimit(const ServeOptions& options) {
  if (options.keep_rlimit_nofile()) return DescriptorLimit();
  const uint64_t wanted = options.rlimit_nofile();
  return RaiseDescriptorLimit(wanted > 0 ? std::optional(wanted) : std::nullopt);
}

// For somebody who is not root: what makes a namespace of users.
absl::StatusOr<std::optional<UserNamespace>> PrepareUserNamespace(const ServeOptions& options) {
  const bool asked = !options.uid_map().empty() || !options.gid_map().empty();
  if (options.sandbox() == SANDBOX_NAMESPACE && !sys::IsRoot()) {
    const std::vector<std::string> users(options.uid_map().begin(), options.uid_map().end());
    const std::vector<std::string> groups(options.gid_map().begin(), options.gid_map().end());
    return UserNamespace::Prepare(users, groups);
  }
  if (!asked) return std::nullopt;
  return absl::FailedPreconditionError(
      "--uid-map and --gid-map are for --sandbox=namespace without root alone");
}

// The ways in. Those of `image`, if there is one, begin with its clients, and serve when all are
// there.

absl::Status AddLisafsClients(const ServeOptions& options, Restoration* image,
                              lisafs::Server& server) {
  for (const LisafsFd& way : options.lisafs_fd()) {
    const lisafs::ConnectionOptions connection = {.mount_path = way.path(),
                                                  .readonly = options.readonly() || way.readonly()};
    RETURN_IF_ERROR(image != nullptr ? image->AddLisafs(server, UniqueFd(way.fd()), connection)
                                     : server.AddConnection(UniqueFd(way.fd()), connection));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::unique_ptr<VhostUserWay>>> VirtualMachines(
    const ServeOptions& options, std::vector<VhostUserSocket> sockets, Restoration* image,
    fs::Filesystem& filesystem) {
  std::vector<std::unique_ptr<VhostUserWay>> ways;
  for (VhostUserSocket& socket : sockets) {
    ASSIGN_OR_RETURN(const fuse::SessionOptions session, ToSessionOptions(options));
    ASSIGN_OR_RETURN(ways.emplace_back(),
                     VhostUserWay::Create(&filesystem, std::move(socket),
                                          {.session = session,
                                           .device = ToDeviceOptions(options),
                                           .limits = ToGuestLimits(options),
                                           .state = ToDeviceStateOptions(options)}));
    if (image == nullptr) continue;
    RETURN_IF_ERROR(image->RestoreFuse(checkpoint::kVhostUserWay, *ways.back()));
  }
  return ways;
}

absl::StatusOr<std::vector<std::unique_ptr<FuseWay>>> Mounts(const ServeOptions& options,
                                                             std::vector<FuseDevice> devices,
                                                             Restoration* image,
                                                             fs::Filesystem& filesystem) {
  std::vector<std::unique_ptr<FuseWay>> ways;
  for (FuseDevice& device : devices) {
    ASSIGN_OR_RETURN(const fuse::SessionOptions session, ToSessionOptions(options));
    const size_t max_threads =
        options.max_mount_threads() > 0 ? options.max_mount_threads() : fuse::DevFuse::kMaxThreads;
    ways.push_back(std::make_unique<FuseWay>(&filesystem, session, std::move(device), max_threads));
    // A mount of our own is a new one.
    if (image == nullptr || !ways.back()->OutlivesProcess()) continue;
    RETURN_IF_ERROR(image->RestoreFuse(checkpoint::kFuseWay, *ways.back()));
  }
  return ways;
}

// Making sockets changes the working directory.
absl::StatusOr<ServeOptions> WithAbsolutePaths(ServeOptions options) {
  std::vector<std::string*> paths = {options.mutable_root()};
  if (!options.pid_file().empty()) paths.push_back(options.mutable_pid_file());
  if (!options.control_socket().empty()) paths.push_back(options.mutable_control_socket());
  for (LisafsSocket& way : *options.mutable_lisafs_socket()) paths.push_back(way.mutable_file());
  for (std::string& file : *options.mutable_vhost_user_socket()) paths.push_back(&file);
  for (std::string& directory : *options.mutable_fuse_mountpoint()) paths.push_back(&directory);
  for (std::string* const path : paths) {
    ErrnoOr<std::string> absolute = sys::AbsolutePath(*path);
    if (!absolute.ok()) return ToStatus(absolute.error(), absl::StrCat(*path, ": getcwd"));
    *path = *std::move(absolute);
  }
  return options;
}

}  // namespace

absl::StatusOr<ServiceEnd> Serve(const ServeOptions& given) {
  ASSIGN_OR_RETURN(const ServeOptions options, WithAbsolutePaths(given));
  RETURN_IF_ERROR(CheckDescriptors(options));
  ASSIGN_OR_RETURN(const Confinement confinement, ToConfinement(options));
  ASSIGN_OR_RETURN(const std::optional<UserNamespace> user_namespace,
                   PrepareUserNamespace(options));
  ASSIGN_OR_RETURN(Readiness readiness, Readiness::Prepare(options.ready_fd()));
  std::unique_ptr<Restoration> image;
  if (options.has_restore()) {
    ASSIGN_OR_RETURN(image, Restoration::Load(options.restore()));
  }
  std::vector<int> kept = NamedDescriptors(options);
  for (const int fd : readiness.Descriptors()) kept.push_back(fd);
  RETURN_IF_ERROR(ResetInheritedWorld(kept));

  // What needs the host's tree. The pid file first: it keeps others from the sockets.
  UniqueFd pid_file;
  if (!options.pid_file().empty()) {
    ASSIGN_OR_RETURN(pid_file, WritePidFile(options.pid_file()));
  }
  ASSIGN_OR_RETURN(std::vector<ListeningMount> listening, Listen(options));
  ASSIGN_OR_RETURN(std::vector<VhostUserSocket> vhost_user, VhostUserSockets(options));
  for (const int fd : options.fuse_fd()) readiness.Keep(BorrowedFd(fd));
  ASSIGN_OR_RETURN(std::vector<FuseDevice> fuse_devices, FuseDevices(options));
  ASSIGN_OR_RETURN(std::vector<ControlSocket> control_sockets, ControlSockets(options));
  ASSIGN_OR_RETURN(const uint64_t descriptor_limit, SetDescriptorLimit(options));
  control::PeerJudge judge(sys::EffectiveUid());
  if (user_namespace.has_value()) {
    if (HasControl(options)) RETURN_IF_ERROR(judge.StayOutside());
    RETURN_IF_ERROR(user_namespace->Enter());
  }
  if (options.pid_namespace() && options.sandbox() == SANDBOX_NAMESPACE) {
    RETURN_IF_ERROR(ContinueAsService());
  }
  ASSIGN_OR_RETURN(Preparation preparation, PrepareConfinement(confinement));
  ASSIGN_OR_RETURN(ServedTree tree,
                   EnterSandbox({.mode = ToMode(options.sandbox()),
                                 .root = options.root(),
                                 .read_only = options.readonly(),
                                 .donates_files = options.donate_fds() == DONATE_AUTO,
                                 .follows_host_mounts = options.follow_host_mounts(),
                                 .mounts = ToAddedMounts(options)}));
  sys::SetUmask(0);  // modes are the client's, which has applied its own
  ASSIGN_OR_RETURN(RunLoop loop, RunLoop::Create());
  ASSIGN_OR_RETURN(Confined confined, Confine(confinement, std::move(preparation), tree.root));
  if (options.sandbox() == SANDBOX_NONE)
    LOG(WARNING) << "--sandbox=none: the process sees all of the host's files";
  if (options.seccomp() == SECCOMP_NONE)
    LOG(WARNING) << "--seccomp=none: system calls are not limited";
  const LandlockState landlock = confined.landlock;
  if (!landlock.in_force) LOG(INFO) << "Landlock is not in force: " << landlock.why_not;
  const ConfinementReport confinement_report(NameOf(options.sandbox()), confinement.seccomp,
                                             std::move(confined));

  ASSIGN_OR_RETURN(const std::unique_ptr<fs::Filesystem> filesystem,
                   fs::Filesystem::Create(std::move(tree.root), std::move(tree.descriptors),
                                          ToFilesystemOptions(options, descriptor_limit)));
  lisafs::Server server(filesystem.get(), ToServerOptions(options));
  std::unique_ptr<Restoration> restoration = std::move(image);  // ends before the file system does
  if (restoration != nullptr) RETURN_IF_ERROR(restoration->Prepare(*filesystem, options));
  RETURN_IF_ERROR(AddLisafsClients(options, restoration.get(), server));
  ASSIGN_OR_RETURN(const std::vector<std::unique_ptr<VhostUserWay>> virtual_machines,
                   VirtualMachines(options, std::move(vhost_user), restoration.get(), *filesystem));
  ASSIGN_OR_RETURN(const std::vector<std::unique_ptr<FuseWay>> mounts,
                   Mounts(options, std::move(fuse_devices), restoration.get(), *filesystem));
  const bool restored = restoration != nullptr;
  for (const auto& mount : mounts) RETURN_IF_ERROR(mount->Mount());
  RETURN_IF_ERROR(server.StartRestored());
  restoration.reset();
  readiness.Announce();
  LOG(INFO) << "serving " << options.root() << ": " << options.lisafs_fd_size()
            << " connections handed down, " << options.lisafs_socket_size() << " sockets";
  LisafsWay lisafs(server, std::move(listening));
  std::vector<WayIn*> ways = {&lisafs};
  for (const auto& way : virtual_machines) ways.push_back(way.get());
  for (const auto& way : mounts) ways.push_back(way.get());
  const std::vector<WayIn*> commanded = ways;
  ControlWay control(std::move(control_sockets),
                     {.subject = {.filesystem = *filesystem,
                                  .lisafs = server,
                                  .version = kVersion,
                                  .root = options.root(),
                                  .readonly = options.readonly()},
                      .about = About(options, descriptor_limit, landlock, restored),
                      .max_nodes = ToFilesystemOptions(options, descriptor_limit).max_nodes,
                      .confinement = confinement_report,
                      .judge = judge,
                      .limits = ToControlLimits(options),
                      .ways = commanded,
                      .loop = loop});
  ways.push_back(&control);
  RETURN_IF_ERROR(loop.Run(ways));
  for (const auto& way : virtual_machines) {
    const absl::Status violation = way->violation();
    if (!violation.ok()) {
      return absl::AbortedError(absl::StrCat("vhost-user: ", violation.message()));
    }
  }
  return loop.was_asked() ? ServiceEnd::kSignal : ServiceEnd::kClientsGone;
}

}  // namespace gofer::server
