#include "gofer/runsc/connection_plan.h"

#include <span>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/oci_spec.h"

namespace gofer::runsc {
namespace {

// Hands out the entries of a list in order.
template <typename Entry>
class Queue {
 public:
  explicit Queue(std::span<const Entry> entries) : left_(entries) {}
  std::optional<Entry> Next() {
    if (left_.empty()) return std::nullopt;
    const Entry entry = left_.front();
    left_ = left_.subspan(1);
    return entry;
  }
  size_t left() const { return left_.size(); }

 private:
  std::span<const Entry> left_;
};

bool HasConf(const oci::Mount& mount, Version version) {
  return IsBindMount(mount) || (version == Version::kV26 && mount.type() == "erofs");
}

// V22 has no confs: everything is served, and --overlay2 alone says what is covered by the sandbox.
MountConf ImpliedConf(bool overlaid) {
  return {.lower = MountConf::Lower::kLisafs, .overlaid = overlaid};
}

absl::Status Mismatch(absl::string_view what, size_t have, size_t spare_or_missing,
                      absl::string_view where) {
  return absl::InvalidArgumentError(
      absl::StrCat(what, ": ", have, " given, ", spare_or_missing, " ", where));
}

}  // namespace

absl::StatusOr<ConnectionPlan> PlanConnections(const CommandLine& line, const oci::Spec& spec) {
  const bool implied = line.version == Version::kV22;
  Queue<int> io_fds(line.io_fds);
  Queue<MountConf> confs(line.mount_confs);
  ConnectionPlan plan;

  const std::optional<MountConf> root =
      implied ? ImpliedConf(line.config.overlay.root) : confs.Next();
  if (!root.has_value()) return Mismatch("--gofer-mount-confs", 0, 1, "missing for the root");
  if (root->Served()) {
    const std::optional<int> io_fd = io_fds.Next();
    if (!io_fd.has_value()) return Mismatch("--io-fds", 0, 1, "missing for the root");
    plan.root =
        PlannedRoot{.io_fd = *io_fd, .read_only = spec.root().readonly() || root->ReadOnly()};
  }

  for (int i = 0; i < spec.mounts_size(); ++i) {
    const oci::Mount& mount = spec.mounts(i);
    if (!HasConf(mount, line.version)) continue;
    const std::optional<MountConf> conf =
        implied ? ImpliedConf(line.config.overlay.mounts) : confs.Next();
    if (!conf.has_value()) {
      return Mismatch("--gofer-mount-confs", line.mount_confs.size(), 1,
                      absl::StrCat("missing for ", mount.destination()));
    }
    if (!conf->Served()) continue;
    const std::optional<int> io_fd = io_fds.Next();
    if (!io_fd.has_value()) {
      return Mismatch("--io-fds", line.io_fds.size(), 1,
                      absl::StrCat("missing for ", mount.destination()));
    }
    plan.mounts.push_back({.spec_index = i,
                           .io_fd = *io_fd,
                           .read_only = HasOption(mount, "ro") || conf->ReadOnly()});
  }
  if (io_fds.left() > 0)
    return Mismatch("--io-fds", line.io_fds.size(), io_fds.left(), "without a mount");
  return plan;
}

}  // namespace gofer::runsc
