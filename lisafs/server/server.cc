#include "lisafs/server/server.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/socket.h"
#include "lisafs/transport/main_socket.h"
#include "lisafs/wire/message_id.h"

namespace lisafs {
namespace {

std::string NameOfRow(size_t row) { return std::string(MessageName(static_cast<MessageId>(row))); }

}  // namespace

Server::Server(gofer::fs::Filesystem* filesystem, ServerOptions options)
    : filesystem_(*filesystem), options_(options), requests_(kRequestRows, &NameOfRow) {}

absl::StatusOr<std::unique_ptr<Connection>> Server::MakeConnection(gofer::UniqueFd socket,
                                                                   ConnectionOptions options) {
  if (!absl::StartsWith(options.mount_path, "/")) {
    return absl::InvalidArgumentError(absl::StrCat("mount path \"", options.mount_path,
                                                   "\" is not absolute; begin it with \"/\""));
  }
  const int number = socket.get();
  if (const auto checked = gofer::sys::CheckConnectedStream(socket); !checked.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("descriptor ", number,
                     " is no connected unix stream socket: ", checked.error().ToString()));
  }
  auto main_socket = MainSocket::Create(std::move(socket));
  if (!main_socket.ok()) {
    return gofer::ToStatus(main_socket.error(), absl::StrCat("setting up descriptor ", number));
  }
  return std::make_unique<Connection>(filesystem_, requests_, options_, std::move(options),
                                      *std::move(main_socket));
}

absl::Status Server::Start(std::unique_ptr<Connection> connection) {
  Reap();
  auto served = std::make_unique<Served>();
  served->connection = std::move(connection);
  absl::MutexLock lock(&mu_);
  if (live_ >= options_.max_connections) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "one more connection: ", live_, " are open, limit ", options_.max_connections));
  }
  ++live_;
  served->thread = std::thread([this, raw = served.get()] { Run(raw); });
  connections_.push_back(std::move(served));
  return absl::OkStatus();
}

absl::Status Server::AddConnection(gofer::UniqueFd socket, ConnectionOptions options) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                   MakeConnection(std::move(socket), std::move(options)));
  return Start(std::move(connection));
}

absl::Status Server::RestoreConnection(gofer::UniqueFd socket, ConnectionOptions options,
                                       const ConnectionState& state, gofer::fs::TreeRestore& tree) {
  ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                   MakeConnection(std::move(socket), std::move(options)));
  RETURN_IF_ERROR(connection->Restore(state, tree));
  absl::MutexLock lock(&mu_);
  restored_.push_back(std::move(connection));
  return absl::OkStatus();
}

absl::Status Server::StartRestored() {
  std::vector<std::unique_ptr<Connection>> restored;
  {
    absl::MutexLock lock(&mu_);
    restored.swap(restored_);
  }
  for (std::unique_ptr<Connection>& connection : restored) {
    RETURN_IF_ERROR(Start(std::move(connection)));
  }
  return absl::OkStatus();
}

ServerState Server::Save(gofer::fs::Snapshot& snapshot) const {
  ServerState state;
  absl::MutexLock lock(&mu_);
  for (const std::unique_ptr<Served>& served : connections_) {
    if (!served->ended) state.connections.push_back(served->connection->Save(snapshot));
  }
  return state;
}

void Server::Run(Served* served) {
  served->connection->Serve();
  std::unique_ptr<Connection> over;
  {
    absl::MutexLock lock(&mu_);
    over = std::move(served->connection);
    served->ended = true;
  }
  over.reset();  // gives back all that the client held, now and not when the next one comes
  absl::MutexLock lock(&mu_);
  --live_;
}

void Server::Reap() {
  std::vector<std::unique_ptr<Served>> ended;  // joined and destroyed after the lock
  {
    absl::MutexLock lock(&mu_);
    for (size_t i = 0; i < connections_.size();) {
      if (connections_[i]->ended) {
        ended.push_back(std::move(connections_[i]));
        connections_.erase(connections_.begin() + static_cast<ptrdiff_t>(i));
      } else {
        ++i;
      }
    }
  }
  for (const std::unique_ptr<Served>& served : ended) served->thread.join();
}

size_t Server::num_connections() const {
  absl::ReaderMutexLock lock(&mu_);
  return live_;
}

size_t Server::most_channels() const {
  absl::ReaderMutexLock lock(&mu_);
  size_t most = 0;
  for (const std::unique_ptr<Served>& served : connections_) {
    if (!served->ended) most = std::max(most, served->connection->num_channels());
  }
  return most;
}

void Server::Wait() {
  {
    absl::MutexLock lock(&mu_);
    mu_.Await(absl::Condition(this, &Server::NoneLeft));
  }
  Reap();
}

void Server::Stop(absl::Duration grace) {
  {
    absl::MutexLock lock(&mu_);
    for (const auto& served : connections_) {
      if (!served->ended) served->connection->Stop();
    }
    if (!mu_.AwaitWithTimeout(absl::Condition(this, &Server::NoneLeft), grace)) {
      for (const auto& served : connections_) {
        if (!served->ended) served->connection->ShutDown();
      }
    }
  }
  Wait();
}

}  // namespace lisafs
