#include "checkpoint/save.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "checkpoint/codec.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/image.pb.h"
#include "checkpoint/lisafs_codec.h"
#include "gofer/base/request_gate.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/snapshot.h"

namespace gofer::checkpoint {
namespace {

// Mounts that take no requests until this ends.
class PausedMounts {
 public:
  PausedMounts() = default;
  PausedMounts(const PausedMounts&) = delete;
  PausedMounts& operator=(const PausedMounts&) = delete;
  ~PausedMounts() { Resume(); }

  // False if requests in hand do not end in time.
  bool Pause(std::span<const FuseClient> clients, absl::Time deadline) {
    for (const FuseClient& client : clients) {
      if (client.device == nullptr) continue;
      devices_.push_back(client.device);
      if (!client.device->Pause(deadline)) return false;
    }
    return true;
  }
  void Resume() {
    for (fuse::DevFuse* const device : std::exchange(devices_, {})) device->Resume();
  }
  // They are somebody else's from now on.
  void Leave() { devices_.clear(); }

 private:
  std::vector<fuse::DevFuse*> devices_;
};

std::vector<FuseClientState> SaveFuse(std::span<const FuseClient> clients, fs::Snapshot& snapshot) {
  std::vector<FuseClientState> states;
  for (const FuseClient& client : clients) {
    states.push_back({.way = std::string(client.way), .session = client.session->Save(snapshot)});
  }
  return states;
}

// A guest that nobody has connected for yet is saved to keep its place, but is no client.
uint64_t Connected(std::span<const FuseClientState> clients) {
  return static_cast<uint64_t>(
      std::count_if(clients.begin(), clients.end(),
                    [](const FuseClientState& client) { return client.session.connected; }));
}

}  // namespace

absl::StatusOr<SaveResult> Save(const Subject& subject, const SaveOptions& options,
                                ImageStore store, std::optional<fs::PreparedFiles> prepared) {
  fs::Filesystem& filesystem = subject.filesystem;
  // Most of what nobody refers to goes while clients are still served.
  filesystem.dentries().Purge();
  fs::PathRepair paths;
  if (!prepared.has_value()) {
    prepared.emplace(filesystem);
    paths = fs::RepairPaths(filesystem, options.watch, &*prepared);
  }
  if (paths.cancelled) {
    return absl::CancelledError("checkpoint: cancelled; clients have been served all the time");
  }
  fs::Snapshot snapshot(filesystem, {.max_deleted_bytes = options.max_deleted_bytes},
                        *std::move(prepared));

  RequestGate& gate = filesystem.gate();
  const absl::Time begin = absl::Now();
  PausedMounts mounts;
  if (!mounts.Pause(subject.fuse, begin + options.quiesce) ||
      !gate.Close(begin + options.quiesce)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "checkpoint: requests in flight did not end within ", absl::FormatDuration(options.quiesce),
        "; clients are served on. A host file system hangs, or is slow: try again"));
  }
  absl::Cleanup reopen = [&gate] { gate.Open(); };

  filesystem.dentries().Purge();
  const lisafs::ServerState lisafs = subject.lisafs.Save(snapshot);
  const std::vector<FuseClientState> fuse = SaveFuse(subject.fuse, snapshot);
  RETURN_IF_ERROR(snapshot.Finish());
  if (options.confirm_paths) RETURN_IF_ERROR(fs::ConfirmPaths(filesystem, options.watch));
  const absl::Duration pause = absl::Now() - begin;
  // The record is complete: what changes from now on belongs to the next one.
  if (options.leave_running) {
    std::move(reopen).Invoke();
    mounts.Resume();
  }
  const fs::FilesystemState files = snapshot.Take();
  SaveResult result = {.names = files.dentries.size(),
                       .files = files.inodes.size(),
                       .open_files = files.handles.size(),
                       .deleted_files = files.deleted_files.size(),
                       .clients = lisafs.connections.size() + Connected(fuse),
                       .payload_bytes = 0,
                       .paths = paths,
                       .pause = pause};
  RETURN_IF_ERROR(snapshot.WriteBack());
  if (const uint64_t bytes = PathBytes(files); bytes > kMaxPathBytes) {
    return absl::FailedPreconditionError(
        absl::StrCat("checkpoint: the names in use are so deep that their paths have ", bytes,
                     " bytes, the limit is ", kMaxPathBytes));
  }

  Image image;
  Configuration& configuration = *image.mutable_configuration();
  configuration.set_gofer_version(subject.version);
  configuration.set_root(subject.root);
  configuration.set_readonly(subject.readonly);
  configuration.set_saved_at_sec(absl::ToUnixSeconds(begin));
  *image.mutable_filesystem() = Encode(files);
  Encode(lisafs, image);
  Encode(fuse, image);
  std::string payload;
  if (!image.SerializeToString(&payload)) {
    return absl::ResourceExhaustedError("checkpoint: the record is larger than an image can be");
  }
  result.payload_bytes = payload.size();
  RETURN_IF_ERROR(store(payload));
  // A gofer that ends serves nobody who could change what was saved.
  if (!options.leave_running) {
    std::move(reopen).Cancel();
    mounts.Leave();
    result.unread = snapshot.unread();
  }
  return result;
}

void LetGo(const Subject& subject, const SaveResult& saved) {
  fs::TakeUnread(subject.filesystem, saved.unread);
  for (const FuseClient& client : subject.fuse) client.session->LetGoOfLocks();
}

void ServeOn(const Subject& subject) {
  subject.filesystem.gate().Open();
  for (const FuseClient& client : subject.fuse) {
    if (client.device != nullptr) client.device->Resume();
  }
}

}  // namespace gofer::checkpoint
