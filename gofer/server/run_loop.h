// The life of a serving process: waits until all clients are gone or somebody asks it to end, and
// takes in clients.
//
// The signals that end it are blocked in all threads and read from a descriptor, so nothing is ever
// done in a handler. As process 1 of a pid namespace it has orphans as children: those vanish by
// themselves (SIGCHLD is ignored).
//
// Owner:   borrows the server. Threads: runs on the main thread.
// Errors:  absl::Status; DeadlineExceeded when requests in flight did not end in time.
// Source:  spec/security.md s.4; spec/runsc-gofer-launch.md s.7.

#ifndef GOFER_SERVER_RUN_LOOP_H_
#define GOFER_SERVER_RUN_LOOP_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "gofer/server/listener.h"
#include "gofer/sys/event_fd.h"
#include "lisafs/server/server.h"

namespace gofer::server {

struct ListeningMount {
  Listener listener;
  std::string path;
  bool readonly;
};

class RunLoop {
 public:
  // Takes over the signals of the process; before the first further thread starts.
  static absl::StatusOr<RunLoop> Create();

  // Serves until all connections have ended (without listeners), or until SIGTERM, SIGINT or
  // SIGHUP. Then no request is begun any more, and those in flight get 5 s.
  absl::Status Run(lisafs::Server& server, std::vector<ListeningMount> mounts);

 private:
  RunLoop(UniqueFd signals, sys::EventFd ended)
      : signals_(std::move(signals)), ended_(std::move(ended)) {}

  absl::Status Stop(lisafs::Server& server);

  UniqueFd signals_;
  sys::EventFd ended_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_RUN_LOOP_H_
