#include "test/support/test_server.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <utility>

#include "glog/logging.h"
#include "gofer/sys/host_fs.h"
#include "test/support/eventually.h"

namespace gofer::testing {

TestServer::TestServer(const TempTree& tree, const lisafs::ServerOptions& options,
                       const fs::FilesystemOptions& filesystem_options)
    : TestServer(tree, "", options, filesystem_options) {}

TestServer::TestServer(const TempTree& tree, const std::string& name,
                       const lisafs::ServerOptions& options,
                       const fs::FilesystemOptions& filesystem_options) {
  umask(0);  // as the gofer does at its start
  auto proc_fds = sys::OpenProcSelfFd();
  CHECK(proc_fds.ok()) << proc_fds.error().ToString();
  auto filesystem =
      fs::Filesystem::Create(tree.OpenPath(name), *std::move(proc_fds), filesystem_options);
  CHECK(filesystem.ok()) << filesystem.status();
  filesystem_ = *std::move(filesystem);
  server_ = std::make_unique<lisafs::Server>(filesystem_.get(), options);
}

TestServer::~TestServer() { server_->Stop(); }

UniqueFd TestServer::ConnectSocket(const lisafs::ConnectionOptions& options) {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  const absl::Status added = server_->AddConnection(UniqueFd(fds[0]), options);
  CHECK(added.ok()) << added;
  return UniqueFd(fds[1]);
}

std::unique_ptr<lisafs::Client> TestServer::Connect(const lisafs::ConnectionOptions& options) {
  return std::make_unique<lisafs::Client>(ConnectSocket(options));
}

bool TestServer::WaitForConnections(size_t count) {
  return Eventually([&] { return server_->num_connections() == count; });
}

}  // namespace gofer::testing
