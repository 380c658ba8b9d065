// A LISAFS server as a process of its own, with sockets connected to it: ours, gVisor's server
// built from its packages (test/bench/peer), or `runsc gofer` itself. What is measured of the
// process is read from outside.
//
// Owner:   the caller; the destructor kills what still runs.
// Threads: one.
// Errors:  what fails ends the program: a benchmark without its server has no result.
// Units:   nanoseconds, KiB.

#ifndef TEST_BENCH_SERVER_PROCESS_H_
#define TEST_BENCH_SERVER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gofer/base/unique_fd.h"

namespace gofer::bench {

struct ServerStart {
  enum class Kind {
    kFlags,       // --root, --lisafs_fd and --ready_fd, as `gofer serve` and the peer take them
    kRunscGofer,  // `runsc gofer`, which is asked to skip what needs a container around it
  };
  Kind kind;
  std::vector<std::string> command;
  std::string root;
  int num_connections = 1;
};

struct PrivateMemory {
  int64_t private_kib = 0;    // pages that no other process maps, of files too
  int64_t anonymous_kib = 0;  // those of them that no file backs
};

class ServerProcess {
 public:
  // Returns when the server has answered a Mount request.
  explicit ServerProcess(const ServerStart& start);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // From before the fork: to the newline on its ready descriptor (0 if it has none), and to the
  // answer to the first request.
  uint64_t ready_ns() const { return ready_ns_; }
  uint64_t first_reply_ns() const { return first_reply_ns_; }

  // The connections, one mount each. They are the caller's from now on.
  std::vector<UniqueFd> TakeSockets() { return std::move(sockets_); }

  // Processor time of all its threads so far, those that have ended included.
  uint64_t CpuNs() const;
  // Of a process that has ended by itself: nothing.
  std::optional<PrivateMemory> Memory() const;

 private:
  pid_t pid_ = -1;
  uint64_t ready_ns_ = 0;
  uint64_t first_reply_ns_ = 0;
  std::vector<UniqueFd> sockets_;
};

// CLOCK_MONOTONIC.
uint64_t NowNs();

}  // namespace gofer::bench

#endif  // TEST_BENCH_SERVER_PROCESS_H_
