// Server: the LISAFS front end. All connections of one container, on one Filesystem.
//
//   lisafs::Server server(filesystem, options);
//   RETURN_IF_ERROR(server.AddConnection(std::move(socket), {.mount_path = "/data", .readonly =
//   true})); server.Wait();
//
// Owner:   gofer::server; the Filesystem outlives it. Threads: safe. A connection is served by a
//          thread of its own and one per channel; there are no others.
// Errors:  AddConnection: kInvalidArgument for a descriptor that is no connected unix stream socket
//          or a path that is not absolute, kResourceExhausted past the options' max_connections.
// Source:  spec/lisafs.md s.6, s.7.

#ifndef LISAFS_SERVER_SERVER_H_
#define LISAFS_SERVER_SERVER_H_

#include <cstddef>
#include <memory>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/snapshot.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/stats/request_stats.h"
#include "lisafs/server/connection.h"
#include "lisafs/server/options.h"
#include "lisafs/server/state.h"

namespace lisafs {

class Server {
 public:
  Server(gofer::fs::Filesystem* filesystem, ServerOptions options);
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { Stop(); }

  // Starts to serve a connected socket.
  absl::Status AddConnection(gofer::UniqueFd socket, ConnectionOptions options)
      ABSL_LOCKS_EXCLUDED(mu_);

  // The same, for a client that goes on with what it could name when it was saved. It is served
  // from StartRestored on, so that nobody is if one of them cannot be restored.
  absl::Status RestoreConnection(gofer::UniqueFd socket, ConnectionOptions options,
                                 const ConnectionState& state, gofer::fs::TreeRestore& tree)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status StartRestored() ABSL_LOCKS_EXCLUDED(mu_);
  // All connections, in the order in which they were added; while no request is served.
  ServerState Save(gofer::fs::Snapshot& snapshot) const ABSL_LOCKS_EXCLUDED(mu_);

  size_t num_connections() const ABSL_LOCKS_EXCLUDED(mu_);
  size_t max_connections() const { return options_.max_connections; }
  size_t max_channels() const { return options_.max_channels; }
  // One for each connection and each of its channels.
  size_t max_threads() const { return max_connections() * (1 + max_channels()); }
  // As many as the connection has that has the most.
  size_t most_channels() const ABSL_LOCKS_EXCLUDED(mu_);
  // What clients have asked for, message by message.
  const gofer::stats::RequestStats& requests() const { return requests_; }
  // Returns when no connection is left.
  void Wait() ABSL_LOCKS_EXCLUDED(mu_);
  // Lets requests in flight finish, for `grace` at most, and ends all connections.
  void Stop(absl::Duration grace = absl::Milliseconds(500)) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Served {
    std::unique_ptr<Connection> connection;  // none once it has ended
    std::thread thread;
    bool ended = false;
  };

  absl::StatusOr<std::unique_ptr<Connection>> MakeConnection(gofer::UniqueFd socket,
                                                             ConnectionOptions options);
  absl::Status Start(std::unique_ptr<Connection> connection) ABSL_LOCKS_EXCLUDED(mu_);
  void Run(Served* served) ABSL_LOCKS_EXCLUDED(mu_);
  bool NoneLeft() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return live_ == 0; }
  // Joins the threads of connections that have ended.
  void Reap() ABSL_LOCKS_EXCLUDED(mu_);

  gofer::fs::Filesystem& filesystem_;
  const ServerOptions options_;
  gofer::stats::RequestStats requests_;
  mutable absl::Mutex mu_;
  size_t live_ ABSL_GUARDED_BY(mu_) = 0;
  std::vector<std::unique_ptr<Served>> connections_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<Connection>> restored_ ABSL_GUARDED_BY(mu_);  // not served yet
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_SERVER_H_
