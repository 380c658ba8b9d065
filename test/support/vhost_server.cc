#include "test/support/vhost_server.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <utility>

#include "glog/logging.h"
#include "gofer/sys/host_fs.h"
#include "test/support/eventually.h"

namespace gofer::testing {

VhostServer::VhostServer(const TempTree& tree, const std::string& name,
                         const fuse::SessionOptions& session,
                         const virtio_fs::DeviceOptions& device,
                         std::optional<checkpoint::DeviceStateOptions> state)
    : session_options_(session), device_options_(device), state_options_(std::move(state)) {
  umask(0);  // as the gofer does at its start
  auto proc_fds = sys::OpenProcSelfFd();
  CHECK(proc_fds.ok()) << proc_fds.error().ToString();
  auto filesystem = fs::Filesystem::Create(tree.OpenPath(name), *std::move(proc_fds), {});
  CHECK(filesystem.ok()) << filesystem.status();
  filesystem_ = *std::move(filesystem);
}

VhostServer::~VhostServer() {
  {
    const absl::MutexLock lock(&mu_);
    for (Connection& connection : connections_) {
      const absl::MutexLock connection_lock(&connection.mu);
      if (connection.backend != nullptr) connection.backend->ShutDown();
    }
  }
  CHECK(WaitForConnections(0)) << "a connection goes on after it was shut down";
}

void VhostServer::Serve(Connection& connection, vhost::user::Backend& backend) {
  const absl::Status ended = backend.Serve();
  LOG_IF(INFO, !ended.ok()) << "connection given up: " << ended.message();
  CHECK(backend.Quiesce(kPatience)) << "requests did not end";
  std::unique_ptr<vhost::user::Backend> over;
  const absl::MutexLock lock(&connection.mu);
  over = std::move(connection.backend);  // its socket is closed: the front-end hears of it
}

UniqueFd VhostServer::Connect() {
  int ends[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const absl::MutexLock lock(&mu_);
  Connection& connection = connections_.emplace_back(filesystem_.get(), session_options_,
                                                     device_options_, state_options_);
  auto backend =
      vhost::user::Backend::Create(UniqueFd(ends[0]), connection.device,
                                   connection.state.has_value() ? &*connection.state : nullptr);
  CHECK(backend.ok()) << backend.status();
  vhost::user::Backend* const serving = backend->get();
  {
    const absl::MutexLock connection_lock(&connection.mu);
    connection.backend = *std::move(backend);
  }
  connection.thread = std::thread([&connection, serving] { Serve(connection, *serving); });
  return UniqueFd(ends[1]);
}

size_t VhostServer::Reap() {
  std::list<Connection> over;
  const absl::MutexLock lock(&mu_);
  for (auto it = connections_.begin(); it != connections_.end();) {
    const auto next = std::next(it);
    const bool is_over = [&] {
      const absl::MutexLock connection_lock(&it->mu);
      return it->backend == nullptr;
    }();
    if (is_over) {
      it->thread.join();
      over.splice(over.end(), connections_, it);
    }
    it = next;
  }
  return connections_.size();
}

bool VhostServer::WaitForConnections(size_t count) {
  return Eventually([&] { return Reap() == count; });
}

}  // namespace gofer::testing
