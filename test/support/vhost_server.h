// A directory served over vhost-user in the test's own process: any number of connections, each
// with a device and a session of its own, all on one filesystem. With options for it, guests can be
// migrated.
//
// Owner:   everything that serves; stopped on destruction. The tree and the machines are the
//          test's.
// Threads: safe. What cannot be set up, and a connection that cannot be stopped, end the test.

#ifndef TEST_SUPPORT_VHOST_SERVER_H_
#define TEST_SUPPORT_VHOST_SERVER_H_

#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "checkpoint/device_state.h"
#include "fuse/session/options.h"
#include "fuse/session/session.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "test/support/temp_tree.h"
#include "vhost/user/backend.h"
#include "vhost/virtio_fs/device.h"

namespace gofer::testing {

class VhostServer {
 public:
  VhostServer(const TempTree& tree, const std::string& name,
              const fuse::SessionOptions& session = {}, const virtio_fs::DeviceOptions& device = {},
              std::optional<checkpoint::DeviceStateOptions> state = std::nullopt);
  ~VhostServer();

  // The front-end's end of a new connection.
  UniqueFd Connect() ABSL_LOCKS_EXCLUDED(mu_);
  // Waits until this many connections are left; false if that does not come about.
  bool WaitForConnections(size_t count) ABSL_LOCKS_EXCLUDED(mu_);

  fs::Filesystem& filesystem() { return *filesystem_; }

 private:
  struct Connection {
    Connection(fs::Filesystem* filesystem, const fuse::SessionOptions& session_options,
               const virtio_fs::DeviceOptions& device_options,
               const std::optional<checkpoint::DeviceStateOptions>& state_options)
        : session(filesystem, session_options), device(&session, device_options) {
      if (state_options.has_value()) state.emplace(filesystem, &session, *state_options);
    }

    fuse::Session session;
    virtio_fs::Device device;
    std::optional<checkpoint::DeviceState> state;
    std::thread thread;
    absl::Mutex mu;
    std::unique_ptr<vhost::user::Backend> backend ABSL_GUARDED_BY(mu);  // null: it is over
  };

  static void Serve(Connection& connection, vhost::user::Backend& backend);
  // Takes away those that are over.
  size_t Reap() ABSL_LOCKS_EXCLUDED(mu_);

  const fuse::SessionOptions session_options_;
  const virtio_fs::DeviceOptions device_options_;
  const std::optional<checkpoint::DeviceStateOptions> state_options_;
  std::unique_ptr<fs::Filesystem> filesystem_;
  absl::Mutex mu_;
  std::list<Connection> connections_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_VHOST_SERVER_H_
