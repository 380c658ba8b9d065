// DeviceState: what a virtio-fs device knows of its guest, as a stream of bytes: front-ends take it
// along when they migrate the guest, or keep it as a part of a snapshot of the VM.
//
// The stream is an image as it stands in a directory, with header and digest, that has one client.
// It is made while other clients of the tree are served on, but for the moment in which the record
// is made; and while the guest still runs, slow work can be done beforehand (Prepare). That may be
// minutes before, so what files are is not taken down then: what others on the host do to them
// meanwhile is no reason to refuse the guest.
//
// A locked file can be locked by one of the two sides only, and often both see the same host. So
// the source lets go of its locks on the host when all of the state is on its way, and before its
// reader can know; it takes them again if the guest goes on there.
//
// Owner:   a vhost-user way in; filesystem and session outlive it.
// Threads: as DeviceStateHandler says; one of its own between Prepare and what ends it.
// Errors:  absl::Status
//            kFailedPrecondition  files cannot be saved, or are not what they were; the log names
//                                 them;
//            kDataLoss            what came is no image, or not one of a guest;
//            and those of Save, Session::Restore and of the stream.
// Source:  spec/vhost-user-fs.md s.15; spec/virtiofsd-parity.md section L.

#ifndef CHECKPOINT_DEVICE_STATE_H_
#define CHECKPOINT_DEVICE_STATE_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "checkpoint/load.h"
#include "fuse/session/session.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "vhost/user/device.h"

namespace gofer::checkpoint {

struct DeviceStateOptions {
  // For the image's configuration.
  std::string version = "";
  std::string root = "";
  bool readonly = false;
  uint64_t max_deleted_bytes = uint64_t{64} << 20;
  // A path that does not lead to its file at the switch-over fails the save.
  bool confirm_paths = false;
  // Of a load: how files are judged, and whether those that are not what they were become ESTALE
  // instead of failing it.
  fs::RestoreOptions restore = {};
  bool mark_mismatches = false;
};

class DeviceState final : public vhost::user::DeviceStateHandler {
 public:
  DeviceState(fs::Filesystem* filesystem, fuse::Session* session, DeviceStateOptions options);
  ~DeviceState() override;

  absl::Status Save(BorrowedFd stream, BorrowedFd given_up) override ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Load(BorrowedFd stream, BorrowedFd given_up) override ABSL_LOCKS_EXCLUDED(mu_);
  // Brings the names of files up to date that were moved behind our back.
  void Prepare() override ABSL_LOCKS_EXCLUDED(mu_);
  void CancelPreparation() override ABSL_LOCKS_EXCLUDED(mu_);

 private:
  // Whether it has been done; waits for its end.
  bool EndPreparation() ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Send(absl::string_view payload, BorrowedFd stream, BorrowedFd given_up);
  absl::Status Receive(BorrowedFd stream, BorrowedFd given_up);
  absl::Status Apply(Loaded loaded);
  absl::Status Judge(const fs::RestoreReport& report) const;

  fs::Filesystem& filesystem_;
  fuse::Session& session_;
  const DeviceStateOptions options_;
  absl::Mutex mu_;
  std::thread preparation_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<std::atomic<bool>> cancel_ ABSL_GUARDED_BY(mu_);  // of preparation_
};

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_DEVICE_STATE_H_
