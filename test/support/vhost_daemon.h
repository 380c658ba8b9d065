// A vhost-user file system daemon as a process of its own: ours, QEMU's virtiofsd, or any other
// that is given by a command.
//
// Owner:   the destructor kills what still runs, children included, and removes the socket.
// Threads: one.
// Errors:  what cannot be started or does not listen ends the program.

#ifndef TEST_SUPPORT_VHOST_DAEMON_H_
#define TEST_SUPPORT_VHOST_DAEMON_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"

namespace gofer::testing {

// QEMU's own, which is written in C; empty where it is not installed.
std::string QemuVirtiofsd();

class VhostDaemon {
 public:
  // A command line; "{socket}" and "{dir}" in it are replaced. Returns when it listens.
  VhostDaemon(absl::string_view command, const std::string& dir);
  ~VhostDaemon();
  VhostDaemon(const VhostDaemon&) = delete;
  VhostDaemon& operator=(const VhostDaemon&) = delete;

  // The connection that showed that it listens, for the first caller; most daemons take no other.
  UniqueFd TakeSocket() { return std::move(connection_); }
  const std::string& socket_path() const { return socket_; }

  pid_t pid() const { return pid_; }
  // It and its children, and theirs.
  std::vector<pid_t> Processes() const;
  // The exit status, or minus the signal that ended it; -1000 if it still runs after `timeout`.
  int Wait(absl::Duration timeout);
  bool Running() { return Wait(absl::ZeroDuration()) == kStillRunning; }
  std::string Stderr() const;

 private:
  static constexpr int kStillRunning = -1000;

  std::string socket_;
  pid_t pid_ = -1;
  int status_ = kStillRunning;
  UniqueFd stderr_;
  UniqueFd connection_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_VHOST_DAEMON_H_
