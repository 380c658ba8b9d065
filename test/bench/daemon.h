// A vhost-user daemon with a guest attached and its file system mounted, and what the daemon costs,
// seen from outside: all of its processes together.
//
// Owner:   the daemon's process and the guest. Threads: one.
// Errors:  what fails ends the program.
// Units:   nanoseconds, KiB.

#ifndef TEST_BENCH_DAEMON_H_
#define TEST_BENCH_DAEMON_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "test/support/vhost_daemon.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::bench {

// A daemon that takes part. "{socket}" and "{dir}" in the command are replaced.
struct Contender {
  std::string name;
  std::string command;
};

class Daemon {
 public:
  Daemon(const Contender& contender, const std::string& dir,
         const vhost::driver::FuseClientOptions& client);

  vhost::driver::FuseClient& client() { return *client_; }

  uint64_t CpuNs() const;
  // Private memory that no file backs; the guest's is shared and does not count.
  uint64_t AnonymousKib() const;
  uint64_t OpenFds() const;

 private:
  testing::VhostDaemon process_;
  std::vector<pid_t> pids_;
  std::unique_ptr<vhost::driver::Machine> machine_;
  std::unique_ptr<vhost::driver::FuseClient> client_;
};

}  // namespace gofer::bench

#endif  // TEST_BENCH_DAEMON_H_
