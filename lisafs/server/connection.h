// Connection: one mount of one client. Its main socket, its channels, the table of what it can
//             name.
//
// Owner:   Server. Threads: Serve runs in a thread of the Server's; each channel is served by a
//          thread of the connection's own. Handle is called by all of them.
// Locks:   channels_mu_ is a leaf, but for making a channel under it; mount_point_mu_ is one.
//          FdTable has its own.
// Life:    end of file on the main socket ends it: no new channels, the channels' requests in
//          flight finish, then everything the client had is dropped. What happens on a channel ends
//          only that channel.
// Source:  spec/lisafs.md s.2.4, s.4.1, s.7.

#ifndef LISAFS_SERVER_CONNECTION_H_
#define LISAFS_SERVER_CONNECTION_H_

#include <algorithm>
#include <cstddef>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/snapshot.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/stats/request_stats.h"
#include "lisafs/server/fd_table.h"
#include "lisafs/server/options.h"
#include "lisafs/server/state.h"
#include "lisafs/transport/call.h"
#include "lisafs/transport/channel.h"
#include "lisafs/transport/main_socket.h"
#include "lisafs/wire/message_id.h"

namespace lisafs {

// Where a request is counted: a message that there is not has a row of its own, for all of them.
inline constexpr size_t kRequestRows = kNumMessageIds + 1;
inline size_t RequestRow(MessageId id) { return std::min(static_cast<size_t>(id), kNumMessageIds); }

class Connection {
 public:
  // Requests are counted in `requests`, by RequestRow.
  Connection(gofer::fs::Filesystem& filesystem, gofer::stats::RequestStats& requests,
             const ServerOptions& server_options, ConnectionOptions options,
             std::unique_ptr<MainSocket> socket);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Serves until the client hangs up or ShutDown.
  void Serve();
  // Lets requests in flight finish and takes no more.
  void Stop();
  // Ends it now: also a client that takes no replies holds nothing up.
  void ShutDown();

  // What its client can name; while no request is served.
  ConnectionState Save(gofer::fs::Snapshot& snapshot) const;
  // Gives it back; before Serve. kDataLoss: the state is not one that was saved.
  absl::Status Restore(const ConnectionState& state, gofer::fs::TreeRestore& tree);

  // Dispatch: supported? allowed? then the message's handler. Turns its errno into an Error reply.
  void Handle(Call& call);

  gofer::fs::Filesystem& filesystem() const { return filesystem_; }
  FdTable& fds() { return fds_; }
  const FdTable& fds() const { return fds_; }
  const ServerOptions& server_options() const { return server_options_; }
  const ConnectionOptions& options() const { return options_; }

  // Whether Mount gave this file out as the root of the connection.
  bool IsMountPoint(const ControlFd& file) const ABSL_LOCKS_EXCLUDED(mount_point_mu_);
  void SetMountPoint(gofer::RefPtr<ControlFd> file) ABSL_LOCKS_EXCLUDED(mount_point_mu_);

  // A new channel, already served. ENOMEM when there are as many as may be, ENOSYS when the connection
  // is closing.
  struct NewChannel {
    ChannelResp place;
    gofer::BorrowedFd memory;  // the connection's
    gofer::UniqueFd client_socket;
  };
  gofer::ErrnoOr<NewChannel> AddChannel() ABSL_LOCKS_EXCLUDED(channels_mu_);
  size_t num_channels() const ABSL_LOCKS_EXCLUDED(channels_mu_);

 private:
  struct ServedChannel {
    std::unique_ptr<Channel> channel;
    std::thread thread;
  };

  void ShutDownChannels() ABSL_LOCKS_EXCLUDED(channels_mu_);
  absl::Status RestoreFd(const FdState& state, gofer::fs::TreeRestore& tree);
  // Appends the file that it makes, with its row, to `made`.
  absl::Status RestoreSocket(const FdState& state, const gofer::fs::TreeRestore& tree,
                             std::vector<std::pair<uint32_t, gofer::RefPtr<ControlFd>>>& made);
  gofer::ErrnoOr<gofer::fs::BoundEntry> Rebind(ControlFd& file, uint32_t type);

  gofer::fs::Filesystem& filesystem_;
  gofer::stats::RequestStats& requests_;
  const ServerOptions& server_options_;
  const ConnectionOptions options_;
  const std::unique_ptr<MainSocket> socket_;
  FdTable fds_;
  mutable absl::Mutex mount_point_mu_;
  gofer::RefPtr<ControlFd> mount_point_ ABSL_GUARDED_BY(mount_point_mu_);

  mutable absl::Mutex channels_mu_;
  bool closing_ ABSL_GUARDED_BY(channels_mu_) = false;
  gofer::UniqueFd memory_ ABSL_GUARDED_BY(channels_mu_);  // the windows of all channels
  std::vector<ServedChannel> channels_ ABSL_GUARDED_BY(channels_mu_);
};

}  // namespace lisafs

#endif  // LISAFS_SERVER_CONNECTION_H_
