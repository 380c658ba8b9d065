// FuseWay: the host's kernel as a client: a mount of our own, or one that the caller has made.
//
// It is over when somebody unmounts it. At our end our own mount goes away, whoever uses it; one of
// the caller's stays, for the caller or a successor to serve: who has the image of the session goes
// on with it (Restore), and those who have files open on the mount do not notice.
//
// Owner:   the composition root; the Filesystem outlives it.
// Threads: as WayIn says. Prepare and Adopt while there is one thread.
// Errors:  absl::Status with the flag.

#ifndef GOFER_SERVER_FUSE_WAY_H_
#define GOFER_SERVER_FUSE_WAY_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/save.h"
#include "fuse/dev/dev_fuse.h"
#include "fuse/dev/mount_keeper.h"
#include "fuse/session/options.h"
#include "fuse/session/session.h"
#include "fuse/session/state.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/server/way_in.h"
#include "gofer/stats/request_stats.h"

namespace gofer::server {

// A connection with the kernel, made while the host's tree and its devices are within reach.
struct FuseDevice {
  // For a person.
  std::string where;
  // One, and clones of it.
  std::vector<UniqueFd> descriptors;
  // Nothing: the caller has mounted it.
  std::optional<fuse::MountKeeper> keeper;
};

class FuseWay final : public WayIn {
 public:
  // Makes the mount, which nobody sees before Mount.
  static absl::StatusOr<FuseDevice> Prepare(const std::string& mountpoint,
                                            const fuse::MountOptions& options);
  // Takes over what the caller has mounted.
  static absl::StatusOr<FuseDevice> Adopt(UniqueFd device);
  // Whether Adopt will take it.
  static absl::Status Check(int fd);

  FuseWay(fs::Filesystem* filesystem, const fuse::SessionOptions& options, FuseDevice device,
          size_t max_threads = fuse::DevFuse::kMaxThreads)
      : max_threads_(max_threads),
        where_(std::move(device.where)),
        own_mount_(device.keeper.has_value()),
        session_(std::make_unique<fuse::Session>(filesystem, options)),
        device_(
            std::make_unique<fuse::DevFuse>(*session_, std::move(device.descriptors), max_threads)),
        keeper_(std::move(device.keeper)) {}

  // Begins with the client of an image, before Mount: the kernel, which has a mount of the caller's
  // already, sends no INIT. Errors: those of fuse::Session::Restore.
  absl::Status Restore(const fuse::SessionState& state, fs::TreeRestore& tree);
  // Serves, and puts the mount in its place.
  absl::Status Mount() ABSL_LOCKS_EXCLUDED(mu_);

  bool EndsByItself() const override { return true; }
  absl::Status Wait() override { return device_->WaitForEnd(); }
  void Stop() override ABSL_LOCKS_EXCLUDED(mu_);
  absl::string_view name() const override { return "fuse"; }
  std::string state() const override { return where_; }
  std::vector<stats::Operation> Requests() const override { return session_->requests().Read(); }
  std::vector<LimitUse> Limits() const override;
  // Besides, one that waits for its end and one for locks.
  size_t MaxThreads() const override { return max_threads_ + 2; }
  std::optional<checkpoint::FuseClient> fuse_client() const override {
    return checkpoint::FuseClient{
        .way = checkpoint::kFuseWay, .session = session_.get(), .device = device_.get()};
  }
  bool restored() const override { return restored_; }
  bool OutlivesProcess() const override { return !own_mount_; }

 private:
  const size_t max_threads_;
  const std::string where_;
  const bool own_mount_;
  const std::unique_ptr<fuse::Session> session_;
  const std::unique_ptr<fuse::DevFuse> device_;
  bool restored_ = false;
  absl::Mutex mu_;
  std::optional<fuse::MountKeeper> keeper_ ABSL_GUARDED_BY(mu_);
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_FUSE_WAY_H_
