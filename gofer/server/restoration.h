// Restoration: what becomes of an image on the way to a process that serves.
//
//   ASSIGN_OR_RETURN(auto restoration, Restoration::Load(options));      // the directory is in reach
//   RETURN_IF_ERROR(restoration->Prepare(filesystem, options));          // confined
//   RETURN_IF_ERROR(restoration->AddLisafs(server, std::move(socket), {...}));   // for each client
//   RETURN_IF_ERROR(restoration->RestoreFuse(checkpoint::kFuseWay, way));        // for each client
//
// The whole image is verified before a file is touched, and decoded when the process is confined.
// Clients of a kind are matched by their order: the first that comes is the first that was saved.
//
// Owner:   the composition root, until the clients are served. Threads: one.
// Errors:  absl::Status: those of checkpoint::Load, and with kExitMismatch what does not match; the
//          report of all files has been written to stdout then.
// Source:  the design's section on checkpoints; spec/security.md s.6.

#ifndef GOFER_SERVER_RESTORATION_H_
#define GOFER_SERVER_RESTORATION_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "checkpoint/load.h"
#include "fuse/session/state.h"
#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/server/options.pb.h"
#include "lisafs/server/server.h"

namespace gofer::server {

class Restoration {
 public:
  static absl::StatusOr<std::unique_ptr<Restoration>> Load(const RestoreOptions& options);
  Restoration(const Restoration&) = delete;
  Restoration& operator=(const Restoration&) = delete;

  // Compares the configurations, finds the files and judges them.
  absl::Status Prepare(fs::Filesystem& filesystem, const ServeOptions& options);
  // The next saved client, at `socket`. As many times as there are --lisafs_fd; it is served from
  // lisafs::Server::StartRestored on.
  absl::Status AddLisafs(lisafs::Server& server, UniqueFd socket,
                         const lisafs::ConnectionOptions& options);
  // The next saved client that came in by `kind`, see FuseClientState, goes on with `way`, which is
  // a VhostUserWay or a FuseWay. As many times as there are descriptors and sockets for it.
  template <typename Way>
  absl::Status RestoreFuse(absl::string_view kind, Way& way) {
    const fuse::SessionState state = NextFuse(kind);
    return AsMismatch(way.Restore(state, *tree_));
  }

 private:
  Restoration(std::string payload, const RestoreOptions& options)
      : options_(options), payload_(std::move(payload)) {}

  absl::Status Compare(const ServeOptions& options) const;
  absl::Status CompareLisafs(const ServeOptions& options) const;
  absl::Status CompareFuse(const ServeOptions& options) const;
  size_t CountFuse(absl::string_view kind) const;
  // Takes it out: there is one of the kind.
  fuse::SessionState NextFuse(absl::string_view kind);
  static absl::Status AsMismatch(absl::Status status);
  absl::Status Judge();

  const RestoreOptions options_;
  std::string payload_;  // until it is decoded
  checkpoint::Loaded loaded_;
  std::optional<fs::TreeRestore> tree_;
  size_t next_lisafs_ = 0;
};

// OK if all files are what they were; one that was moved and is followed is.
absl::Status MismatchOf(const fs::RestoreReport& report, bool follow_moved);

// The secret in a file of the caller; empty if `path` is.
absl::StatusOr<checkpoint::ImageKey> ReadImageKey(const std::string& path);

}  // namespace gofer::server

#endif  // GOFER_SERVER_RESTORATION_H_
