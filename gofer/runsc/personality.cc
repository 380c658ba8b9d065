#include "gofer/runsc/personality.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/json.h"
#include "gofer/base/status_macros.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/runsc/command_line.h"
#include "gofer/runsc/connection_plan.h"
#include "gofer/runsc/oci_spec.h"
#include "gofer/runsc/rootfs.h"
#include "gofer/server/lisafs_way.h"
#include "gofer/server/log_output.h"
#include "gofer/server/run_loop.h"
#include "gofer/server/sandbox.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"
#include "lisafs/server/server.h"

namespace gofer::runsc {
namespace {

constexpr int kUsageStatus = 2;
constexpr int kFatalStatus = 128;
// With an io_uring shared with the sandbox the gofer may not vanish before the sandbox has.
constexpr absl::Duration kSentryExitTimeout = absl::Milliseconds(500);

lisafs::HostUds ToLisafs(HostUds policy) {
  switch (policy) {
    case HostUds::kNone:
      return lisafs::HostUds::kNone;
    case HostUds::kOpen:
      return lisafs::HostUds::kOpen;
    case HostUds::kCreate:
      return lisafs::HostUds::kCreate;
    case HostUds::kAll:
      return lisafs::HostUds::kAll;
  }
  return lisafs::HostUds::kNone;
}

lisafs::Personality ToLisafs(Version version) {
  switch (version) {
    case Version::kV22:
      return lisafs::Personality::kV22;
    case Version::kV24:
      return lisafs::Personality::kV24;
    case Version::kV26:
      return lisafs::Personality::kV26;
  }
  return lisafs::Personality::kV26;
}

bool OpensDevices(const CommandLine& line) {
  return line.OpensCharacterDevices() || line.dev_io_fd >= 0;
}

server::Confinement ToConfinement(const CommandLine& line) {
  const lisafs::HostUds uds = ToLisafs(line.config.host_uds);
  // Only V26 has a message that connects with the application's ids.
  const bool switch_ids = line.version == Version::kV26 && lisafs::MayConnect(uds);
  return {
      .capabilities = {.switch_ids = switch_ids},
      .seccomp = {.host_sockets_open = lisafs::MayConnect(uds),
                  .host_sockets_make = lisafs::MayBind(uds)},
      .landlock = {.make_special_files = lisafs::MayBind(uds), .open_devices = OpensDevices(line)}};
}

lisafs::ServerOptions ToServerOptions(const CommandLine& line) {
  return {.personality = ToLisafs(line.version),
          .host_uds = ToLisafs(line.config.host_uds),
          .host_fifo_open = line.config.host_fifo,
          // The device connection is there for nothing else.
          .character_device_open = OpensDevices(line),
          .donate_fds = true,
          .donate_mount_fd = line.DonatesMountPoints()};
}

// Until runsc has done its part and closes its end. A byte would be the news that it failed.
absl::Status WaitForEnd(int fd, absl::string_view what) {
  if (fd < 0) return absl::OkStatus();
  const UniqueFd owned(fd);
  const ErrnoOr<size_t> got = sys::ReadOneByte(owned);
  if (!got.ok()) return ToStatus(got.error(), absl::StrCat(what, "=", fd));
  if (*got == 0) return absl::OkStatus();
  return absl::AbortedError(
      absl::StrCat(what, "=", fd, ": runsc sent a byte instead of closing its end"));
}

// A user namespace is mapped only after we were started in it. Until then nobody is root in it, and
// a program that nobody runs has no capabilities: become root, and start once more to get them.
absl::Status StartAgainAsRoot(const CommandLine& line, std::vector<std::string> arguments) {
  const ErrnoOr<void> set = sys::SetIds(line.uid, line.gid);
  if (!set.ok()) return ToStatus(set.error(), absl::StrCat("become ", line.uid, ":", line.gid));
  const auto before_id = arguments.end() - (line.container_id.empty() ? 0 : 1);
  arguments.insert(before_id,
                   {"--sync-userns-fd=-1", "--sync-chroot-fd=-1", "--sync-nvproxy-fd=-1"});
  arguments.insert(arguments.begin(), kPersonalityName);
  for (const int fd : line.Descriptors()) (void)sys::SetCloseOnExec(BorrowedFd(fd), false).ok();
  return ToStatus(sys::ExecuteSelf(arguments).error(), "execute /proc/self/exe");
}

absl::Status WaitForRunsc(const CommandLine& line, const std::vector<std::string>& arguments) {
  RETURN_IF_ERROR(WaitForEnd(line.sync_nvproxy_fd, "--sync-nvproxy-fd"));
  RETURN_IF_ERROR(WaitForEnd(line.sync_chroot_fd, "--sync-chroot-fd"));
  if (line.sync_userns_fd < 0) return absl::OkStatus();
  RETURN_IF_ERROR(WaitForEnd(line.sync_userns_fd, "--sync-userns-fd"));
  return StartAgainAsRoot(line, arguments);
}

// In full, before anything is served: the sandbox reads it before it needs a file. It starts only
// at end of file, so the descriptor must be closed here.
absl::Status SendMounts(int mounts_fd, const oci::Spec& spec) {
  if (mounts_fd < 0) return absl::OkStatus();
  const UniqueFd pipe(mounts_fd);
  ASSIGN_OR_RETURN(const std::string json, MountsToJson(spec));
  const ErrnoOr<void> written = sys::WriteAll(pipe, json);
  return written.ok() ? absl::OkStatus()
                      : ToStatus(written.error(), absl::StrCat("--mounts-fd=", mounts_fd));
}

absl::Status AddConnection(lisafs::Server& lisafs_server, int fd, const std::string& path,
                           bool read_only) {
  LOG(INFO) << "serving " << path << " on descriptor " << fd << (read_only ? ", read-only" : "");
  return lisafs_server.AddConnection(UniqueFd(fd), {.mount_path = path, .readonly = read_only});
}

absl::Status AddConnections(lisafs::Server& lisafs_server, const CommandLine& line,
                            const ConnectionPlan& plan, const oci::Spec& spec) {
  if (plan.root.has_value()) {
    RETURN_IF_ERROR(AddConnection(lisafs_server, plan.root->io_fd, "/", plan.root->read_only));
  }
  for (const PlannedMount& planned : plan.mounts) {
    const std::string& path = spec.mounts(planned.spec_index).destination();
    RETURN_IF_ERROR(AddConnection(lisafs_server, planned.io_fd, path, planned.read_only));
  }
  if (line.dev_io_fd < 0) return absl::OkStatus();
  return AddConnection(lisafs_server, line.dev_io_fd, "/dev", /*read_only=*/false);
}

// The sandbox sends a descriptor of itself; it becomes readable when the sandbox has ended.
void WaitForSentryExit(int fd) {
  if (fd < 0) return;
  const BorrowedFd socket(fd);
  const absl::Time deadline = absl::Now() + kSentryExitTimeout;
  const ErrnoOr<std::vector<size_t>> sent =
      sys::WaitReadable(std::span(&socket, 1), kSentryExitTimeout);
  if (!sent.ok() || sent->empty()) return;
  const ErrnoOr<UniqueFd> sentry = sys::ReceiveFd(socket);
  if (!sentry.ok()) return;
  const BorrowedFd process = sentry->borrow();
  (void)sys::WaitReadable(std::span(&process, 1),
                          std::max(deadline - absl::Now(), absl::ZeroDuration()))
      .ok();
}

absl::Status Run(CommandLine& line, const std::vector<std::string>& arguments) {
  RETURN_IF_ERROR(server::ResetInheritedWorld(line.Descriptors()));
  if (line.debug_log_fd >= 0) {
    const ErrnoOr<void> moved = sys::DuplicateAs(BorrowedFd(line.debug_log_fd), 2);
    if (!moved.ok())
      return ToStatus(moved.error(), absl::StrCat("--debug-log-fd=", line.debug_log_fd));
  }
  server::StartLogging(
      {.format = server::LogFormat::kText,
       .fd = 2,
       .level = line.config.debug ? server::LogLevel::kDebug : server::LogLevel::kInfo});

  ASSIGN_OR_RETURN(oci::Spec spec, ReadSpec(BorrowedFd(line.spec_fd), line.bundle));
  RETURN_IF_ERROR(ApplyAnnotations(spec, line.config));
  ASSIGN_OR_RETURN(const ConnectionPlan plan, PlanConnections(line, spec));
  RETURN_IF_ERROR(WaitForRunsc(line, arguments));

  const std::optional<uint64_t> wanted =
      line.config.fd_limit >= 0 ? std::optional<uint64_t>(line.config.fd_limit) : std::nullopt;
  ASSIGN_OR_RETURN(const uint64_t descriptor_limit, server::RaiseDescriptorLimit(wanted));
  const server::Confinement confinement = ToConfinement(line);
  ASSIGN_OR_RETURN(server::Preparation preparation, server::PrepareConfinement(confinement));
  ASSIGN_OR_RETURN(Rootfs rootfs, BuildRootfs(line, spec, plan));
  RETURN_IF_ERROR(EnterRootfs(line, rootfs));
  RETURN_IF_ERROR(ResolveDestinations(line, plan, rootfs.root, spec));
  RETURN_IF_ERROR(SendMounts(line.mounts_fd, spec));
  UniqueFd(line.spec_fd).Reset();
  UniqueFd(line.rpc_fd).Reset();
  sys::SetUmask(0);
  ASSIGN_OR_RETURN(server::RunLoop loop, server::RunLoop::Create());
  RETURN_IF_ERROR(server::Confine(confinement, std::move(preparation), rootfs.root).status());

  ASSIGN_OR_RETURN(
      const std::unique_ptr<fs::Filesystem> filesystem,
      fs::Filesystem::Create(std::move(rootfs.root), std::move(rootfs.descriptors),
                             {.max_fds = server::DescriptorsForFiles(descriptor_limit)}));
  lisafs::Server lisafs_server(filesystem.get(), ToServerOptions(line));
  RETURN_IF_ERROR(AddConnections(lisafs_server, line, plan, spec));
  server::LisafsWay lisafs_way(lisafs_server, {});
  server::WayIn* const ways[] = {&lisafs_way};
  RETURN_IF_ERROR(loop.Run(ways));
  LOG(INFO) << "all connections have ended";
  WaitForSentryExit(line.sync_sentry_exit_fd);
  return absl::OkStatus();
}

// As runsc writes it, for engines that show the last error of a container's log.
std::string AsRunscError(absl::string_view message) {
  return absl::StrCat("{\"msg\":", JsonQuote(message), ",\"level\":\"error\",\"time\":\"",
                      absl::FormatTime(absl::RFC3339_full, absl::Now(), absl::UTCTimeZone()),
                      "\"}\n");
}

}  // namespace

int RunPersonality(const std::vector<std::string>& arguments) {
  absl::StatusOr<CommandLine> line = ParseCommandLine(arguments);
  if (!line.ok()) {
    server::ReportFailure(server::LogFormat::kText,
                          absl::StrCat(kPersonalityName, ": ", line.status().message()));
    return kUsageStatus;
  }
  const absl::Status served = Run(*line, arguments);
  if (served.ok()) return 0;
  server::ReportFailure(server::LogFormat::kText,
                        absl::StrCat(kPersonalityName, ": ", served.message()));
  if (line->log_fd >= 0)
    (void)sys::WriteAll(BorrowedFd(line->log_fd), AsRunscError(served.message())).ok();
  return kFatalStatus;
}

}  // namespace gofer::runsc
