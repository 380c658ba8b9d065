// VhostUserWay: a virtual machine's way in: waits for its monitor on a socket, serves one
// connection as a virtio-fs device with a FUSE session of its own, and is over when the monitor has
// gone. The monitor can take the guest's state along and have it go on elsewhere. Or the session is
// the one of an image: then the guest goes on with it as soon as its monitor has connected anew.
//
// Owner:   the composition root; the Filesystem outlives it.
// Threads: as WayIn says. Errors: that there is nobody to serve any more is none, however the
//          connection came to its end: monitors take another status than 0 for a failure of ours.
// Source:  spec/vhost-user-fs.md s.1.

#ifndef GOFER_SERVER_VHOST_USER_WAY_H_
#define GOFER_SERVER_VHOST_USER_WAY_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "checkpoint/device_state.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/save.h"
#include "fuse/session/options.h"
#include "fuse/session/session.h"
#include "fuse/session/state.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/server/way_in.h"
#include "gofer/stats/request_stats.h"
#include "gofer/sys/event_fd.h"
#include "vhost/user/backend.h"
#include "vhost/virtio_fs/device.h"

namespace gofer::server {

struct VhostUserSocket {
  UniqueFd fd;
  bool listens;  // else it is connected already
};

class VhostUserWay final : public WayIn {
 public:
  struct Options {
    fuse::SessionOptions session;
    virtio_fs::DeviceOptions device;
    vhost::user::Limits limits;
    checkpoint::DeviceStateOptions state;
  };

  static absl::StatusOr<std::unique_ptr<VhostUserWay>> Create(fs::Filesystem* filesystem,
                                                              VhostUserSocket socket,
                                                              const Options& options);
  ~VhostUserWay() override;

  // Begins with the guest of an image, before Wait. Errors: those of fuse::Session::Restore.
  absl::Status Restore(const fuse::SessionState& state, fs::TreeRestore& tree);

  bool EndsByItself() const override { return true; }
  absl::Status Wait() override ABSL_LOCKS_EXCLUDED(mu_);
  void Stop() override ABSL_LOCKS_EXCLUDED(mu_);
  bool LeavesThreads() const override ABSL_LOCKS_EXCLUDED(mu_);
  absl::string_view name() const override { return "vhost-user"; }
  std::string state() const override ABSL_LOCKS_EXCLUDED(mu_);
  std::vector<stats::Operation> Requests() const override { return session_->requests().Read(); }
  std::vector<LimitUse> Limits() const override ABSL_LOCKS_EXCLUDED(mu_);
  size_t MaxThreads() const override;
  std::optional<checkpoint::FuseClient> fuse_client() const override {
    return checkpoint::FuseClient{.way = checkpoint::kVhostUserWay, .session = session_.get()};
  }
  bool restored() const override { return restored_; }

  // What its monitor has done against the protocol. That ends this way alone, not the others, but
  // the process has not served all that it was started for.
  absl::Status violation() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // What one monitor has: destroyed from the bottom to the top.
  struct Served;

  VhostUserWay(fs::Filesystem& filesystem, VhostUserSocket socket, const Options& options,
               sys::EventFd stopped);

  enum class Phase { kWaiting, kConnected, kOver };

  // The connection; invalid if it was stopped before there was one.
  absl::StatusOr<UniqueFd> Connect();
  void Serve(vhost::user::Backend& backend);

  fs::Filesystem& filesystem_;
  const Options options_;
  // There is one connection, and so one session; it is without a client before and after it.
  const std::unique_ptr<fuse::Session> session_;
  bool restored_ = false;
  const sys::EventFd stopped_;
  VhostUserSocket socket_;
  mutable absl::Mutex mu_;
  std::unique_ptr<Served> served_ ABSL_GUARDED_BY(mu_);
  Phase phase_ ABSL_GUARDED_BY(mu_) = Phase::kWaiting;
  bool leaves_threads_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status violation_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_VHOST_USER_WAY_H_
