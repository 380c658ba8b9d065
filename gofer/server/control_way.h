// The control socket: takes in those who command this process, and does what they say.
//
//   status      what is served, to whom, by how much;
//   confinement what it may do and see;
//   purge       drops the names that no client refers to;
//   stop        ends the process as SIGTERM does;
//   checkpoint  saves the tree and its clients into a file that comes along, see control.proto.
//
// It is a way in that is over from the start: a process does not live on because somebody might
// command it.
//
// Owner:   the composition root; borrows what it commands, and outlives the run loop.
// Threads: as WayIn says; each command runs on the thread of its client.
// Source:  spec/security.md s.5; the design's command line.

#ifndef GOFER_SERVER_CONTROL_WAY_H_
#define GOFER_SERVER_CONTROL_WAY_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "checkpoint/save.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/control.pb.h"
#include "gofer/control/frame.h"
#include "gofer/control/peer_judge.h"
#include "gofer/control/server.h"
#include "gofer/server/confinement_report.h"
#include "gofer/server/run_loop.h"
#include "gofer/server/way_in.h"

namespace gofer::server {

struct ControlSocket {
  UniqueFd fd;
  bool listens;  // else one client is connected by it
};

class ControlWay final : public WayIn, private control::CommandHandler {
 public:
  struct Service {
    // But for the FUSE clients, which the ways in know.
    checkpoint::Subject subject;
    // What does not change: the process, its root, its limits and confinement.
    control::Status about;
    // How many names, and how many files, may be known.
    uint64_t max_nodes;
    const ConfinementReport& confinement;
    // Who may command.
    control::PeerJudge& judge;
    control::Limits limits;
    // All ways in but this one.
    std::span<WayIn* const> ways;
    // Ends the process.
    RunLoop& loop;
  };

  ControlWay(std::vector<ControlSocket> sockets, Service service);

  std::vector<BorrowedFd> Watched() const override;
  void OnReadable(size_t index) override;
  bool EndsByItself() const override { return true; }
  absl::Status Wait() override { return absl::OkStatus(); }
  void Stop() override { server_.Stop(); }
  absl::string_view name() const override { return "control"; }
  std::string state() const override { return ""; }

 private:
  control::Reply Handle(control::Received request, Client& client) override;
  control::Reply ReplyStatus() const;
  // Of all ways in together, and of those who command.
  std::vector<LimitUse> CommonLimits() const;
  control::Reply ReplyConfinement() const;
  control::Reply Purge();
  control::Reply Checkpoint(const control::CheckpointRequest& request, BorrowedFd file,
                            Client& client);
  // What is saved now.
  std::vector<checkpoint::FuseClient> FuseClients() const;
  // Whether the process can end without cutting a client off for good.
  absl::Status CanEnd() const;
  // Clients wait until the image is in its place, and if it is, for another process.
  control::Reply AwaitDone(const checkpoint::Subject& subject, const checkpoint::SaveResult& saved,
                           const control::Reply& reply, Client& client);

  std::vector<UniqueFd> listening_;
  const Service service_;
  const absl::Time begin_ = absl::Now();
  std::atomic<bool> saving_{false};  // one at a time
  control::ControlServer server_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_CONTROL_WAY_H_
