#include "gofer/server/serve.h"

#include <stdlib.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"
#include "gofer/server/listener.h"
#include "gofer/server/run_loop.h"
#include "gofer/server/sandbox.h"
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
      return SeccompMode::kKill;
  }
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

Confinement ToConfinement(const ServeOptions& options) {
  const lisafs::HostUds uds = ToLisafs(options.host_uds());
  return {.capabilities = {.switch_ids = lisafs::MayConnect(uds)},
          .seccomp = {.mode = ToMode(options.seccomp()),
                      .listen = !options.lisafs_socket().empty(),
                      .host_sockets_open = lisafs::MayConnect(uds),
                      .host_sockets_make = lisafs::MayBind(uds)}};
}

lisafs::ServerOptions ToServerOptions(const ServeOptions& options) {
  return {.personality = lisafs::Personality::kV26,
          .host_uds = ToLisafs(options.host_uds()),
          .host_fifo_open = options.host_fifo() == HOST_FIFO_OPEN,
          .character_device_open = false,
          .donate_fds = options.donate_fds() == DONATE_AUTO,
          .donate_mount_fd = false};
}

std::vector<int> NamedDescriptors(const ServeOptions& options) {
  std::vector<int> fds;
  for (const LisafsFd& way : options.lisafs_fd()) fds.push_back(way.fd());
  if (options.ready_fd() >= 0) fds.push_back(options.ready_fd());
  return fds;
}

absl::Status CheckDescriptors(const ServeOptions& options) {
  for (const LisafsFd& way : options.lisafs_fd()) {
    const ErrnoOr<void> checked = sys::CheckConnectedStream(BorrowedFd(way.fd()));
    if (checked.ok()) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--lisafs_fd=", way.fd(), ": ", checked.error().ToString(),
                     "; hand down one end of a connected unix stream socket under this number"));
  }
  if (options.ready_fd() >= 0 && !sys::IsOpen(options.ready_fd())) {
    return absl::InvalidArgumentError(
        absl::StrCat("--ready_fd=", options.ready_fd(), ": is not an open descriptor"));
  }
  return absl::OkStatus();
}

absl::Status WritePidFile(const std::string& path) {
  const std::string what = absl::StrCat("--pid_file=", path);
  const size_t slash = path.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const ErrnoOr<Name> name =
      Name::Parse(slash == std::string::npos ? path : path.substr(slash + 1));
  if (!name.ok()) return ToStatus(name.error(), what);
  const ErrnoOr<UniqueFd> dir = sys::OpenLocation(parent.c_str());
  if (!dir.ok()) return ToStatus(dir.error(), what);
  // The one of an earlier run goes; what somebody else left under the name is not written to.
  (void)sys::Unlink(*dir, *name, 0).ok();
  const ErrnoOr<UniqueFd> file = sys::CreateExclusive(*dir, *name, O_WRONLY, 0644);
  if (!file.ok()) return ToStatus(file.error(), what);
  const ErrnoOr<void> written = sys::WriteAll(*file, absl::StrCat(sys::ProcessId(), "\n"));
  return written.ok() ? absl::OkStatus() : ToStatus(written.error(), what);
}

// Tells whoever waits for it, by both ways that there are.
class Readiness {
 public:
  // Before the environment is cleared and the host's sockets are out of reach.
  static absl::StatusOr<Readiness> Prepare(int ready_fd) {
    Readiness readiness;
    if (const char* const address = getenv("NOTIFY_SOCKET");
        address != nullptr && *address != '\0') {
      ErrnoOr<UniqueFd> socket = sys::ConnectNotifySocket(address);
      if (!socket.ok()) return ToStatus(socket.error(), absl::StrCat("NOTIFY_SOCKET=", address));
      readiness.notify_socket_ = *std::move(socket);
    }
    readiness.ready_fd_ = UniqueFd(ready_fd);
    return readiness;
  }

  std::vector<int> Descriptors() const { return {notify_socket_.get()}; }

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

}  // namespace

absl::Status Serve(const ServeOptions& options) {
  RETURN_IF_ERROR(CheckDescriptors(options));
  ASSIGN_OR_RETURN(Readiness readiness, Readiness::Prepare(options.ready_fd()));
  std::vector<int> kept = NamedDescriptors(options);
  for (const int fd : readiness.Descriptors()) kept.push_back(fd);
  RETURN_IF_ERROR(ResetInheritedWorld(kept));

  // What needs the host's tree.
  ASSIGN_OR_RETURN(std::vector<ListeningMount> listening, Listen(options));
  if (!options.pid_file().empty()) RETURN_IF_ERROR(WritePidFile(options.pid_file()));
  const std::optional<uint64_t> wanted =
      options.rlimit_nofile() > 0 ? std::optional(options.rlimit_nofile()) : std::nullopt;
  ASSIGN_OR_RETURN(const uint64_t descriptor_limit, RaiseDescriptorLimit(wanted));
  const Confinement confinement = ToConfinement(options);
  RETURN_IF_ERROR(PrepareConfinement(confinement));
  ASSIGN_OR_RETURN(ServedTree tree,
                   EnterSandbox({.mode = ToMode(options.sandbox()),
                                 .root = options.root(),
                                 .read_only = options.readonly(),
                                 .donates_files = options.donate_fds() == DONATE_AUTO}));
  sys::SetUmask(0);  // modes are the client's, which has applied its own
  ASSIGN_OR_RETURN(RunLoop loop, RunLoop::Create());
  RETURN_IF_ERROR(Confine(confinement));
  if (options.sandbox() == SANDBOX_NONE)
    LOG(WARNING) << "--sandbox=none: the process sees all of the host's files";
  if (options.seccomp() == SECCOMP_NONE)
    LOG(WARNING) << "--seccomp=none: system calls are not limited";

  ASSIGN_OR_RETURN(const std::unique_ptr<fs::Filesystem> filesystem,
                   fs::Filesystem::Create(std::move(tree.root), std::move(tree.descriptors),
                                          {.max_fds = DescriptorsForFiles(descriptor_limit)}));
  lisafs::Server server(filesystem.get(), ToServerOptions(options));
  for (const LisafsFd& way : options.lisafs_fd()) {
    RETURN_IF_ERROR(server.AddConnection(
        UniqueFd(way.fd()),
        {.mount_path = way.path(), .readonly = options.readonly() || way.readonly()}));
  }
  readiness.Announce();
  LOG(INFO) << "serving " << options.root() << ": " << options.lisafs_fd_size()
            << " connections handed down, " << options.lisafs_socket_size() << " sockets";
  return loop.Run(server, std::move(listening));
}

}  // namespace gofer::server
