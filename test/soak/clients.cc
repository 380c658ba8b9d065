#include "test/soak/clients.h"

#include <errno.h>

#include <array>
#include <span>

#include "absl/status/statusor.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "glog/logging.h"
#include "gofer/control/client.h"
#include "test/support/results.h"
#include "vhost/driver/frontend.h"

namespace gofer::soak {
namespace {

using fuse::NodeId;
using testing::Must;
using vhost::driver::Machine;
using vhost::driver::Slot;

constexpr vhost::driver::FuseClientOptions kGuest = {.depth = 4, .data_bytes = 64 << 10};

std::unique_ptr<Machine> Boot(UniqueFd socket) {
  std::unique_ptr<Machine> machine = Must(Machine::Attach(std::move(socket), {}));
  Must(machine->Start());
  return machine;
}

}  // namespace

void Client::Die() {
  ++deaths_;
  DieAsItsKind();
  actor_.Abandon();
  GoAway();
}

std::string Client::Leave() {
  std::string wrong = actor_.LetGo();
  GoAway();
  return wrong;
}

LisafsSoakClient::LisafsSoakClient(std::string name, std::string socket, size_t channels,
                                   std::vector<Ground> grounds, uint64_t seed)
    : Client(std::move(name), std::move(grounds), seed),
      socket_(std::move(socket)),
      channels_(channels) {}

void LisafsSoakClient::Come() {
  absl::StatusOr<UniqueFd> socket = control::ConnectToGofer(socket_);
  CHECK(socket.ok()) << socket.status();
  view_ = std::make_unique<one_tree::LisafsView>(name(), *std::move(socket));
  for (size_t i = 0; i < channels_; ++i) Must(view_->client().OpenChannel());
  actor().Use(view_.get());
}

void LisafsSoakClient::DieAsItsKind() {
  // Half of the times in the middle of a header.
  const std::array<std::byte, 3> part = {};
  if (actor().random()() % 2 == 0) (void)view_->client().socket_way().SendBytes(part).ok();
  view_->client().ShutDown();
}

GuestSoakClient::GuestSoakClient(std::string name, UniqueFd socket, std::vector<Ground> grounds,
                                 uint64_t seed)
    : Client(name, std::move(grounds), seed),
      machine_(Boot(std::move(socket))),
      client_(machine_.get(), kGuest),
      view_(std::move(name), &client_) {
  Must(client_.Init());
}

void GuestSoakClient::Come() { actor().Use(&view_); }

void GuestSoakClient::DieAsItsKind() {
  // With as many requests in flight as there may be.
  while (Slot* const slot = client_.Acquire()) {
    slot->Arguments().Write(fuse::GetattrIn{});
    client_.Submit(*slot, fuse::Opcode::kGetattr, NodeId::kRoot, {.result = sizeof(fuse::AttrOut)});
  }
}

void GuestSoakClient::GoAway() {
  Must(machine_->Reboot());
  client_.Reset();
  Must(client_.Init());
}

FolderSoakClient::FolderSoakClient(std::unique_ptr<one_tree::FolderView> view,
                                   std::vector<Ground> grounds, uint64_t seed)
    : Client(view->name(), std::move(grounds), seed), view_(std::move(view)) {}

ErrnoOr<void> MountView::Rename(const std::string& from, const std::string& to) {
  const ErrnoOr<void> renamed = FolderView::Rename(from, to);
  if (renamed.ok() || renamed.error() != ESTALE) return renamed;
  (void)Look(from).ok();
  (void)Look(to).ok();
  return FolderView::Rename(from, to);
}

}  // namespace gofer::soak
