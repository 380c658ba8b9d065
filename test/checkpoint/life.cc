#include "test/checkpoint/life.h"

#include <span>
#include <utility>

#include "glog/logging.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"

namespace gofer::testing {

using lisafs::FdId;

Life::Life(UniqueFd root, const lisafs::ServerOptions& options) {
  auto created = fs::Filesystem::Create(std::move(root), Must(sys::OpenProcSelfFd()), {});
  CHECK(created.ok()) << created.status();
  filesystem_ = *std::move(created);
  server_ = std::make_unique<lisafs::Server>(filesystem_.get(), options);
  SocketPair pair = StreamPair();
  client_ = std::make_unique<lisafs::Client>(std::move(pair.ours));
  server_end_ = std::move(pair.theirs);
}

Life::~Life() {
  client_.reset();
  server_->Wait();
}

void Life::Start() {
  const absl::Status added = server_->AddConnection(std::move(server_end_), {});
  CHECK(added.ok()) << added;
  root_ = Must(client_->Mount()).root.control_fd;
}

absl::Status Life::Restore(fs::FilesystemState files, const lisafs::ServerState& state,
                           const fs::RestoreOptions& options,
                           const std::function<absl::Status(fs::TreeRestore&)>& others) {
  fs::TreeRestore tree(*filesystem_, std::move(files), options);
  report_ = tree.Examine();
  RETURN_IF_ERROR(tree.Take());
  RETURN_IF_ERROR(
      server_->RestoreConnection(std::move(server_end_), {}, state.connections.at(0), tree));
  RETURN_IF_ERROR(others(tree));
  return server_->StartRestored();
}

FdId Life::Walk(FdId from, absl::string_view name) {
  lisafs::Inode inode;
  const absl::string_view names[] = {name};
  const lisafs::WalkResult walked = Must(client_->Walk(from, names, std::span(&inode, 1)));
  CHECK_EQ(walked.count, 1u) << name;
  return inode.control_fd;
}

std::string Life::Read(FdId file, size_t size, uint64_t offset) {
  std::string text(size, '\0');
  text.resize(Must(client_->PRead(file, std::as_writable_bytes(std::span(text)), offset)));
  return text;
}

size_t Life::Write(FdId file, absl::string_view text, uint64_t offset) {
  return Must(client_->PWrite(file, std::as_bytes(std::span(text.data(), text.size())), offset));
}

absl::StatusOr<checkpoint::Loaded> SaveInMemory(Life& life,
                                                const checkpoint::SaveOptions& options) {
  std::string payload;
  RETURN_IF_ERROR(checkpoint::Save({.filesystem = life.filesystem(), .lisafs = life.server()},
                                   options,
                                   [&payload](absl::string_view made) {
                                     payload = std::string(made);
                                     return absl::OkStatus();
                                   })
                      .status());
  return checkpoint::Decode(payload);
}

}  // namespace gofer::testing
