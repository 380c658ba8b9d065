#include "test/support/fuse_world.h"

#include <sys/stat.h>

#include <utility>

#include "glog/logging.h"
#include "gofer/sys/host_fs.h"

namespace gofer::testing {

FuseWorld::FuseWorld(absl::string_view served, const fs::FilesystemOptions& options) {
  umask(0);
  if (!served.empty()) tree.Mkdir(served);
  auto proc_fds = sys::OpenProcSelfFd();
  CHECK(proc_fds.ok());
  auto created = fs::Filesystem::Create(tree.OpenPath(served), *std::move(proc_fds), options);
  CHECK(created.ok()) << created.status();
  filesystem = *std::move(created);
  session = std::make_unique<fuse::Session>(filesystem.get(), fuse::SessionOptions());
  client = std::make_unique<FuseClient>(*session);
}

void FuseWorld::Restart(const fuse::SessionOptions& options, uint64_t flags) {
  End();
  session = std::make_unique<fuse::Session>(filesystem.get(), options);
  client = std::make_unique<FuseClient>(*session);
  CHECK_EQ(client->Init(flags).error, 0);
}

void FuseWorld::End() {
  client.reset();
  session.reset();
}

}  // namespace gofer::testing
