#include "gofer/server/restoration.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/image_file.h"
#include "checkpoint/report.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/own_directory.h"
#include "gofer/sys/process.h"

namespace gofer::server {
namespace {

absl::Status Mismatch(absl::string_view message) {
  return WithExitStatus(absl::FailedPreconditionError(absl::StrCat("restore: ", message)),
                        kExitMismatch);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Restoration>> Restoration::Load(const RestoreOptions& options) {
  ASSIGN_OR_RETURN(const checkpoint::ImageKey key, ReadImageKey(options.image_key_file()));
  const ErrnoOr<UniqueFd> directory = sys::OpenOwnDirectory(options.image_path().c_str());
  if (!directory.ok()) {
    return ToStatus(directory.error(), absl::StrCat("--image_path=", options.image_path()));
  }
  ASSIGN_OR_RETURN(std::string payload, checkpoint::LoadImage(*directory, key));
  return std::unique_ptr<Restoration>(new Restoration(std::move(payload), options));
}

absl::Status Restoration::Prepare(fs::Filesystem& filesystem, const ServeOptions& options) {
  ASSIGN_OR_RETURN(loaded_, checkpoint::Decode(payload_));
  payload_ = std::string();
  RETURN_IF_ERROR(Compare(options));
  tree_.emplace(filesystem, std::move(loaded_.files),
                fs::RestoreOptions{.validation = {.sizes = options_.validate_file_sizes(),
                                                  .mtimes = options_.validate_mtimes()},
                                   .follow_moved = options_.follow_moved()});
  RETURN_IF_ERROR(Judge());
  return tree_->Take();
}

absl::Status Restoration::Compare(const ServeOptions& options) const {
  const checkpoint::Configuration& saved = loaded_.configuration;
  if (saved.readonly() != options.readonly()) {
    return Mismatch(absl::StrCat("the tree was served ", saved.readonly() ? "" : "not ",
                                 "read-only, now it is ", options.readonly() ? "" : "not ",
                                 "to be; give --readonly=", saved.readonly() ? "true" : "false"));
  }
  if (saved.root() != options.root()) {
    LOG(WARNING) << "restore: --root was " << saved.root() << " and is " << options.root();
  }
  RETURN_IF_ERROR(CompareLisafs(options));
  return CompareFuse(options);
}

absl::Status Restoration::CompareLisafs(const ServeOptions& options) const {
  const auto& saved = loaded_.lisafs.connections;
  if (saved.size() != static_cast<size_t>(options.lisafs_fd_size())) {
    return Mismatch(absl::StrCat(saved.size(), " LISAFS clients were saved, ",
                                 options.lisafs_fd_size(),
                                 " descriptors are handed down; give --lisafs_fd for each, in "
                                 "their order"));
  }
  const auto text = [](absl::string_view path, bool readonly) {
    return absl::StrCat(path, readonly ? ":ro" : "");
  };
  for (size_t i = 0; i < saved.size(); ++i) {
    const LisafsFd& way = options.lisafs_fd(static_cast<int>(i));
    const std::string before = text(saved[i].mount_path, saved[i].readonly);
    const std::string now = text(way.path(), options.readonly() || way.readonly());
    if (before == now) continue;
    return Mismatch(absl::StrCat("LISAFS client ", i + 1, " was served at ", before,
                                 ", --lisafs_fd=", way.fd(), " is to be served at ", now));
  }
  return absl::OkStatus();
}

absl::Status Restoration::CompareFuse(const ServeOptions& options) const {
  const size_t guests = CountFuse(checkpoint::kVhostUserWay);
  const size_t mounts = CountFuse(checkpoint::kFuseWay);
  if (guests + mounts != loaded_.fuse.size()) {
    return absl::DataLossError(absl::StrCat(
        "image: ", loaded_.fuse.size() - guests - mounts,
        " FUSE clients that came in by a way that this gofer has not; restore with a newer one"));
  }
  const auto given_guests =
      static_cast<size_t>(options.vhost_user_socket_size() + options.vhost_user_fd_size());
  if (guests != given_guests) {
    return Mismatch(absl::StrCat(guests, " guests were saved, there are ", given_guests,
                                 " sockets for them; give --vhost_user_socket or --vhost_user_fd "
                                 "for each, in their order"));
  }
  const auto given_mounts = static_cast<size_t>(options.fuse_fd_size());
  if (mounts != given_mounts) {
    return Mismatch(absl::StrCat(mounts, " mounts were saved, ", given_mounts,
                                 " descriptors are handed down; give --fuse_fd for each, in their "
                                 "order"));
  }
  return absl::OkStatus();
}

size_t Restoration::CountFuse(absl::string_view kind) const {
  return static_cast<size_t>(std::count_if(
      loaded_.fuse.begin(), loaded_.fuse.end(),
      [kind](const checkpoint::FuseClientState& client) { return client.way == kind; }));
}

fuse::SessionState Restoration::NextFuse(absl::string_view kind) {
  const auto next = std::find_if(
      loaded_.fuse.begin(), loaded_.fuse.end(),
      [kind](const checkpoint::FuseClientState& client) { return client.way == kind; });
  CHECK(next != loaded_.fuse.end()) << kind;
  fuse::SessionState state = std::move(next->session);
  loaded_.fuse.erase(next);
  return state;
}

absl::Status Restoration::AsMismatch(absl::Status status) {
  if (!absl::IsFailedPrecondition(status)) return status;
  return Mismatch(status.message());
}

absl::Status Restoration::Judge() {
  const fs::RestoreReport& report = tree_->Examine();
  if (report.relocated) {
    LOG(WARNING) << "restore: the root is another directory than the saved one: files are known by "
                    "names, types, sizes and modification times alone";
  }
  if (report.findings.empty()) return absl::OkStatus();
  // Not by std::cout, whose first use makes a call that a confined process may not. Who does not
  // read it has the summary.
  (void)sys::WriteAll(BorrowedFd(1), options_.json() ? checkpoint::ReportAsJson(report)
                                                     : checkpoint::ReportAsText(report))
      .ok();
  const absl::Status mismatch = MismatchOf(report, options_.follow_moved());
  if (mismatch.ok() || options_.on_mismatch() == ON_MISMATCH_ABORT) return mismatch;
  LOG(WARNING) << mismatch.message();
  return absl::OkStatus();
}

absl::Status MismatchOf(const fs::RestoreReport& report, bool follow_moved) {
  const auto differs = [follow_moved](const fs::Finding& finding) {
    return finding.verdict != fs::Verdict::kMoved || !follow_moved;
  };
  const auto count = std::count_if(report.findings.begin(), report.findings.end(), differs);
  if (count == 0) return absl::OkStatus();
  return Mismatch(absl::StrCat(count, " of ", report.findings.size() + report.same,
                               " files are not what they were, see the report; put them right, or "
                               "restore with --on_mismatch=mark"));
}

absl::Status Restoration::AddLisafs(lisafs::Server& server, UniqueFd socket,
                                    const lisafs::ConnectionOptions& options) {
  CHECK_LT(next_lisafs_, loaded_.lisafs.connections.size());
  return server.RestoreConnection(std::move(socket), options,
                                  loaded_.lisafs.connections[next_lisafs_++], *tree_);
}

absl::StatusOr<checkpoint::ImageKey> ReadImageKey(const std::string& path) {
  constexpr size_t kMaxKeyBytes = 4096;
  if (path.empty()) return checkpoint::ImageKey{};
  ErrnoOr<std::string> secret = sys::ReadFile(path.c_str(), kMaxKeyBytes);
  if (!secret.ok()) return ToStatus(secret.error(), absl::StrCat("--image_key_file=", path));
  if (secret->empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--image_key_file=", path, ": is empty; put the secret into it"));
  }
  return checkpoint::ImageKey{.secret = *std::move(secret)};
}

}  // namespace gofer::server
