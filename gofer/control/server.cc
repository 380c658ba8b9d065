#include "gofer/control/server.h"

#include <sys/socket.h>

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

// Tells why, and lets the socket be closed. A peer that does not listen is no reason to wait.
void Refuse(BorrowedFd socket, absl::string_view why) {
  (void)sys::SetNonBlocking(socket, true).ok();
  SendReply(socket, FailureReply(why)).IgnoreError();
}

class SocketClient : public CommandHandler::Client {
 public:
  explicit SocketClient(BorrowedFd socket) : socket_(socket) {}

  bool Report(const Progress& progress) override {
    Reply report;
    *report.mutable_progress() = progress;
    return SendReply(socket_, report).ok();
  }
  absl::StatusOr<Received> Ask(const Reply& reply, absl::Duration patience) override {
    RETURN_IF_ERROR(SendReply(socket_, reply));
    return ReceiveRequest(socket_, absl::Now() + patience);
  }

 private:
  const BorrowedFd socket_;
};

}  // namespace

Reply FailureReply(absl::string_view message, int exit_status) {
  Reply reply;
  reply.mutable_failure()->set_message(std::string(message));
  reply.mutable_failure()->set_exit_status(exit_status);
  return reply;
}

void ControlServer::Add(UniqueFd socket) {
  Reap();
  if (const absl::Status judged = judge_.MayCommand(socket); !judged.ok()) {
    Refuse(socket, judged.message());
    return;
  }
  const absl::MutexLock lock(&mu_);
  if (stopped_) return;
  if (connections_.size() >= limits_.clients) {
    Refuse(socket, absl::StrCat("control socket: ", limits_.clients,
                                " clients are connected already; try again when one has gone"));
    return;
  }
  connections_.push_back(std::make_unique<Connection>());
  Connection& connection = *connections_.back();
  connection.socket = std::move(socket);
  connection.thread = std::thread([this, &connection] { Serve(connection); });
}

void ControlServer::Serve(Connection& connection) {
  while (ServeOne(connection.socket)) {
  }
  sys::Shutdown(connection.socket, SHUT_RDWR);
  const absl::MutexLock lock(&mu_);
  connection.socket.Reset();  // not when the next client comes
  connection.ended = true;
}

bool ControlServer::ServeOne(BorrowedFd socket) {
  if (!sys::WaitReadable(std::span(&socket, 1), absl::InfiniteDuration()).ok()) return false;
  absl::StatusOr<Received> request = ReceiveRequest(socket, absl::Now() + limits_.request);
  if (!request.ok()) {
    if (!absl::IsOutOfRange(request.status())) Refuse(socket, request.status().message());
    return false;
  }
  SocketClient client(socket);
  const Reply reply = handler_.Handle(*std::move(request), client);
  return SendReply(socket, reply).ok();
}

void ControlServer::Reap() {
  std::vector<std::unique_ptr<Connection>> gone;
  {
    const absl::MutexLock lock(&mu_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      if (!(*it)->ended) {
        ++it;
        continue;
      }
      gone.push_back(std::move(*it));
      it = connections_.erase(it);
    }
  }
  for (const std::unique_ptr<Connection>& connection : gone) connection->thread.join();
}

size_t ControlServer::clients() const {
  const absl::MutexLock lock(&mu_);
  return static_cast<size_t>(std::count_if(connections_.begin(), connections_.end(),
                                           [](const auto& one) { return !one->ended; }));
}

void ControlServer::Stop() {
  std::list<std::unique_ptr<Connection>> connections;
  {
    const absl::MutexLock lock(&mu_);
    stopped_ = true;
    // Only what they send: the answer to a command that ends us still has to go out.
    for (const std::unique_ptr<Connection>& connection : connections_) {
      if (!connection->ended) sys::Shutdown(connection->socket, SHUT_RD);
    }
    connections.swap(connections_);
  }
  for (const std::unique_ptr<Connection>& connection : connections) connection->thread.join();
}

}  // namespace gofer::control
