#include "gofer/control/server.h"

#include <sys/socket.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

constexpr uint32_t kRoot = 0;

Reply FailureReply(absl::string_view message) {
  Reply reply;
  reply.mutable_failure()->set_message(std::string(message));
  reply.mutable_failure()->set_exit_status(1);
  return reply;
}

// Tells why, and lets the socket be closed. A peer that does not listen is no reason to wait.
void Refuse(BorrowedFd socket, absl::string_view why) {
  (void)sys::SetNonBlocking(socket, true).ok();
  SendReply(socket, FailureReply(why)).IgnoreError();
}

}  // namespace

void ControlServer::Add(UniqueFd socket) {
  Reap();
  const ErrnoOr<uint32_t> peer = sys::PeerUid(socket);
  if (!peer.ok() || (*peer != owner_ && *peer != kRoot)) {
    Refuse(socket,
           absl::StrCat("control socket: only uid ", owner_, " and root may command, you are ",
                        peer.ok() ? absl::StrCat("uid ", *peer) : peer.error().ToString()));
    return;
  }
  const absl::MutexLock lock(&mu_);
  if (stopped_) return;
  if (clients_.size() >= kMaxClients) {
    Refuse(socket, absl::StrCat("control socket: ", kMaxClients,
                                " clients are connected already; try again when one has gone"));
    return;
  }
  clients_.push_back(std::make_unique<Client>());
  Client& client = *clients_.back();
  client.socket = std::move(socket);
  client.thread = std::thread([this, &client] { Serve(client); });
}

void ControlServer::Serve(Client& client) {
  while (ServeOne(client.socket)) {
  }
  sys::Shutdown(client.socket, SHUT_RDWR);
  const absl::MutexLock lock(&mu_);
  client.ended = true;
}

bool ControlServer::ServeOne(BorrowedFd socket) {
  if (!sys::WaitReadable(std::span(&socket, 1), absl::InfiniteDuration()).ok()) return false;
  absl::StatusOr<Received> request = ReceiveRequest(socket, absl::Now() + kRequestDeadline);
  if (!request.ok()) {
    if (!absl::IsOutOfRange(request.status())) Refuse(socket, request.status().message());
    return false;
  }
  const Reply reply = handler_.Handle(*std::move(request), [socket](const Progress& progress) {
    Reply report;
    *report.mutable_progress() = progress;
    SendReply(socket, report).IgnoreError();
  });
  return SendReply(socket, reply).ok();
}

void ControlServer::Reap() {
  std::vector<std::unique_ptr<Client>> gone;
  {
    const absl::MutexLock lock(&mu_);
    for (auto it = clients_.begin(); it != clients_.end();) {
      if (!(*it)->ended) {
        ++it;
        continue;
      }
      gone.push_back(std::move(*it));
      it = clients_.erase(it);
    }
  }
  for (const std::unique_ptr<Client>& client : gone) client->thread.join();
}

void ControlServer::Stop() {
  std::list<std::unique_ptr<Client>> clients;
  {
    const absl::MutexLock lock(&mu_);
    stopped_ = true;
    clients.swap(clients_);
  }
  // Only what they send: the answer to a command that ends us still has to go out.
  for (const std::unique_ptr<Client>& client : clients) sys::Shutdown(client->socket, SHUT_RD);
  for (const std::unique_ptr<Client>& client : clients) client->thread.join();
}

}  // namespace gofer::control
