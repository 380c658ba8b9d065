// ControlServer: answers commands on control sockets, each client on a thread of its own.
//
// Who may command: the file mode of the socket keeps others out; beyond it the judge does, see
// peer_judge.h.
//
// Owner:   borrows the handler and the judge. Threads: safe. The handler is called by several
//          threads at once.
// Errors:  a client that breaks the rules of frame.h, takes longer than it may for a
//          request or is no. One client too many is told so if it still listens, and cut off.
// Source:  spec/security.md s.5 and s.10 (control_auth_test, control_flood_test).

#ifndef GOFER_CONTROL_SERVER_H_
#define GOFER_CONTROL_SERVER_H_

#include <cstddef>
#include <list>
#include <memory>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/control.pb.h"
#include "gofer/control/frame.h"
#include "gofer/control/peer_judge.h"

namespace gofer::control {

// What those who command may have.
struct Limits {
  size_t clients = 8;
  // From the first byte of a request to its last; an idle client may wait as long as it likes.
  absl::Duration request = absl::Seconds(5);
};

// What the commands do.
class CommandHandler {
 public:
  // Who has sent the request, for what is said before the last reply.
  class Client {
   public:
    virtual ~Client() = default;
    // False if the client has gone: work that is for it alone can stop.
    virtual bool Report(const Progress& progress) = 0;
    // An answer that is not the last, and the request that follows it; kDeadlineExceeded if none
    // has come in time.
    virtual absl::StatusOr<Received> Ask(const Reply& reply, absl::Duration patience) = 0;
  };

  virtual ~CommandHandler() = default;
  // The last reply.
  virtual Reply Handle(Received request, Client& client) = 0;
};

// A failure as the last reply; the command ends with `exit_status`.
Reply FailureReply(absl::string_view message, int exit_status = 1);

class ControlServer {
 public:
  ControlServer(CommandHandler& handler, PeerJudge& judge, const Limits& limits = {})
      : handler_(handler), judge_(judge), limits_(limits) {}
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer() { Stop(); }

  // Takes a connected socket in. Never blocks for long.
  void Add(UniqueFd socket) ABSL_LOCKS_EXCLUDED(mu_);
  // Clients that are connected.
  size_t clients() const ABSL_LOCKS_EXCLUDED(mu_);
  // Cuts all clients off and waits for the commands that run.
  void Stop() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
    bool ended = false;  // mu_
  };

  void Serve(Connection& connection) ABSL_LOCKS_EXCLUDED(mu_);
  bool ServeOne(BorrowedFd socket);
  // Joins the threads of clients that have gone.
  void Reap() ABSL_LOCKS_EXCLUDED(mu_);

  CommandHandler& handler_;
  PeerJudge& judge_;
  const Limits limits_;
  mutable absl::Mutex mu_;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
  std::list<std::unique_ptr<Connection>> connections_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::control

#endif  // GOFER_CONTROL_SERVER_H_
