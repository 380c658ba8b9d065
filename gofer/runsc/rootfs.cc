#include "gofer/runsc/rootfs.h"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/runsc/hooks.h"
#include "gofer/runsc/mount_opener.h"
#include "gofer/runsc/mount_options.h"
#include "gofer/runsc/mount_resolver.h"
#include "gofer/runsc/oci_spec.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/mount_api.h"

namespace gofer::runsc {
namespace {

constexpr uint32_t kDirectoryMode = 0777;  // less the launcher's umask, which is still in force
constexpr uint32_t kCwdMode = 0755;

// A detached tree and where it goes.
struct Source {
  UniqueFd tree;
  std::string from;
  std::string to;
  MountOptions options;
  bool read_only = false;
};

bool IsIdMapped(const oci::Mount& mount) {
  return mount.uid_mappings_size() > 0 || mount.gid_mappings_size() > 0;
}

absl::StatusOr<UniqueFd> CloneSource(const CommandLine& line, const oci::Mount& mount,
                                     sys::Recursive recursive) {
  const std::string what = absl::StrCat("mount ", mount.destination(), ": clone ", mount.source());
  if (line.version == Version::kV26 && IsIdMapped(mount)) {
    // Only runsc can make the mapping, and without it the ids of all files would be wrong.
    if (line.rpc_fd < 0)
      return absl::FailedPreconditionError(absl::StrCat(what, ": id-mapped, and no --rpc-fd"));
    return OpenMountByRpc(BorrowedFd(line.rpc_fd), mount);
  }
  ErrnoOr<UniqueFd> tree = sys::CloneTree(mount.source().c_str(), recursive);
  if (tree.ok()) return *std::move(tree);
  if (!(tree.error() == EACCES) || line.rpc_fd < 0) return ToStatus(tree.error(), what);
  ASSIGN_OR_RETURN(const UniqueFd file, OpenMountByRpc(BorrowedFd(line.rpc_fd), mount));
  return ToStatus(sys::CloneTree(file, recursive), what);
}

// nvidia0, nvidiactl, nvidia-uvm; accel0 and what is below vfio: the devices that the sandbox's
// proxies drive.
bool IsProxiedDevice(const Config& config, absl::string_view path) {
  const auto is_digits = [](absl::string_view text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  };
  if (config.nvproxy && absl::ConsumePrefix(&path, "/dev/nvidia")) {
    return path == "ctl" || path == "-uvm" || is_digits(path);
  }
  if (!config.tpuproxy) return false;
  if (absl::StartsWith(path, "/dev/vfio")) return true;
  return absl::ConsumePrefix(&path, "/dev/accel") && is_digits(path);
}

class Builder {
 public:
  Builder(const CommandLine& line, const oci::Spec& spec, const ConnectionPlan& plan)
      : line_(line), spec_(spec), plan_(plan) {}

  absl::StatusOr<UniqueFd> Build() && {
    RETURN_IF_ERROR(
        ToStatus(sys::SetPropagationOfAll(MS_SLAVE), "make the mounts of this namespace slaves"));
    RETURN_IF_ERROR(CloneSources());
    RETURN_IF_ERROR(AttachRoot());
    for (Source& source : sources_) RETURN_IF_ERROR(PlaceSource(source));
    RETURN_IF_ERROR(RestrictAll());
    for (Source& device : devices_) RETURN_IF_ERROR(PlaceSource(device));
    RETURN_IF_ERROR(MakeDirectories());
    RETURN_IF_ERROR(RunHooks());
    // Last, so that a mount point can still be made inside a mount that ends up read-only.
    RETURN_IF_ERROR(ApplyOptions());
    return std::move(root_);
  }

 private:
  absl::Status CloneSources() {
    for (const PlannedMount& planned : plan_.mounts) {
      const oci::Mount& mount = spec_.mounts(planned.spec_index);
      Source source = {.tree = {},
                       .from = mount.source(),
                       .to = mount.destination(),
                       .options = ParseMountOptions(mount),
                       .read_only = planned.read_only};
      ASSIGN_OR_RETURN(source.tree, CloneSource(line_, mount, source.options.recursive));
      sources_.push_back(std::move(source));
    }
    if (line_.dev_io_fd < 0) return absl::OkStatus();
    for (const oci::Device& device : spec_.linux().devices()) {
      if (!IsProxiedDevice(line_.config, device.path())) continue;
      Source source = {.tree = {},
                       .from = device.path(),
                       .to = device.path(),
                       .options = {},
                       .read_only = false};
      ASSIGN_OR_RETURN(source.tree,
                       ToStatus(sys::CloneTree(device.path().c_str(), sys::Recursive::kNo),
                                absl::StrCat("device ", device.path())));
      devices_.push_back(std::move(source));
    }
    return absl::OkStatus();
  }

  // The root's clone covers the root itself, as container engines do it: hooks find the finished
  // tree at its path, and pivot_root finds a mount.
  absl::Status AttachRoot() {
    UniqueFd target;
    if (plan_.root.has_value()) {
      const std::string& path = spec_.root().path();
      ASSIGN_OR_RETURN(target,
                       ToStatus(sys::OpenLocation(path.c_str()), absl::StrCat("root ", path)));
      ASSIGN_OR_RETURN(root_, ToStatus(sys::CloneTree(target, sys::Recursive::kYes),
                                       absl::StrCat("clone root ", path)));
    } else {
      // The sandbox has its root from elsewhere: the mounts get an empty one to stand in.
      ASSIGN_OR_RETURN(target, ToStatus(sys::OpenLocation("/"), "open /"));
      ASSIGN_OR_RETURN(root_, ToStatus(sys::NewTmpfs(), "tmpfs for the root"));
    }
    RETURN_IF_ERROR(ToStatus(sys::AttachTree(root_, target), "attach the root"));
    Propagation propagation = {.type = MS_SLAVE, .recursive = sys::Recursive::kYes};
    if (const std::string& text = spec_.linux().rootfs_propagation(); !text.empty()) {
      ASSIGN_OR_RETURN(propagation, ParseRootPropagation(text));
    }
    return ToStatus(sys::SetPropagation(root_, propagation.type, propagation.recursive),
                    "propagation of the root");
  }

  absl::Status PlaceSource(Source& source) {
    const std::string what = absl::StrCat("mount ", source.from, " at ", source.to);
    ASSIGN_OR_RETURN(const sys::Attr attr, ToStatus(sys::Statx(source.tree), what));
    ASSIGN_OR_RETURN(Place target, ResolveInRoot(root_, source.to));
    if (target.IsRoot())
      return absl::InvalidArgumentError(absl::StrCat(what, ": that is the root itself"));
    RETURN_IF_ERROR(S_ISDIR(attr.stx_mode) ? target.MakeDirectory(kDirectoryMode)
                                           : target.MakeFile(kDirectoryMode));
    RETURN_IF_ERROR(ToStatus(sys::AttachTree(source.tree, target.file()), what));
    if (const std::optional<Propagation>& propagation = source.options.propagation) {
      RETURN_IF_ERROR(ToStatus(
          sys::SetPropagation(source.tree, propagation->type, propagation->recursive), what));
    }
    return absl::OkStatus();
  }

  absl::Status MakeDirectories() {
    if (line_.dev_io_fd >= 0) {
      ASSIGN_OR_RETURN(Place dev, ResolveInRoot(root_, "/dev"));
      RETURN_IF_ERROR(dev.MakeDirectory(kDirectoryMode));
    }
    // V26 leaves the working directory to the sandbox.
    if (line_.version == Version::kV26 || spec_.process().cwd().empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(Place cwd, ResolveInRoot(root_, spec_.process().cwd()));
    return cwd.MakeDirectory(kCwdMode);
  }

  absl::Status RunHooks() {
    if (line_.version != Version::kV26 || !plan_.root.has_value()) return absl::OkStatus();
    return RunCreateContainerHooks(spec_, line_.container_id, line_.bundle);
  }

  // Nothing is ever executed here, and devices are opened only where a policy has it, but for those
  // of the device connection, which are put in place afterwards.
  absl::Status RestrictAll() {
    const uint64_t devices = line_.OpensCharacterDevices() ? 0 : MOUNT_ATTR_NODEV;
    return ToStatus(sys::RestrictMount(root_, MOUNT_ATTR_NOSUID | devices, sys::Recursive::kYes),
                    "restrict the mounts");
  }

  absl::Status ApplyOptions() {
    if (plan_.root.has_value() && plan_.root->read_only) {
      RETURN_IF_ERROR(ToStatus(sys::RestrictMount(root_, MOUNT_ATTR_RDONLY, sys::Recursive::kNo),
                               "read-only root"));
    }
    for (const Source& source : sources_) RETURN_IF_ERROR(RestrictSource(source));
    return absl::OkStatus();
  }

  // `ro` holds for the kernel too, so that a client that got around the connection's flag would
  // still meet EROFS. The other options took effect only since V26; before, an application that
  // relies on noexec being the sandbox's business would lose its mappings.
  absl::Status RestrictSource(const Source& source) {
    const std::string what = absl::StrCat("options of mount ", source.to);
    uint64_t attributes = source.read_only ? MOUNT_ATTR_RDONLY : 0;
    if (line_.version == Version::kV26) {
      attributes |= source.options.attributes;
      if (source.options.atime.has_value()) {
        RETURN_IF_ERROR(ToStatus(sys::SetAtime(source.tree, *source.options.atime), what));
      }
    }
    if (attributes == 0) return absl::OkStatus();
    return ToStatus(sys::RestrictMount(source.tree, attributes, sys::Recursive::kNo), what);
  }

  const CommandLine& line_;
  const oci::Spec& spec_;
  const ConnectionPlan& plan_;
  std::vector<Source> sources_;
  std::vector<Source> devices_;
  UniqueFd root_;
};

bool IsOneOf(int64_t magic, std::initializer_list<int64_t> of) {
  return std::find(of.begin(), of.end(), magic) != of.end();
}

}  // namespace

absl::StatusOr<Rootfs> BuildRootfs(const CommandLine& line, const oci::Spec& spec,
                                   const ConnectionPlan& plan) {
  // A launcher that has set up everything left it where runsc's gofer leaves it for its second
  // half.
  if (!line.setup_root) {
    ASSIGN_OR_RETURN(UniqueFd descriptors,
                     ToStatus(sys::OpenProcSelfFdForChroot(), "open /proc/self/fd"));
    const std::string path = line.config.unsafe_nonroot ? spec.root().path() : "/root";
    ASSIGN_OR_RETURN(UniqueFd root,
                     ToStatus(sys::OpenRootPath(path.c_str()), absl::StrCat("root ", path)));
    return Rootfs{.root = std::move(root), .descriptors = std::move(descriptors)};
  }
  if (line.config.unsafe_nonroot && plan.mounts.empty() && plan.root.has_value()) {
    ASSIGN_OR_RETURN(UniqueFd descriptors, ToStatus(sys::OpenProcSelfFd(), "open /proc/self/fd"));
    const std::string& path = spec.root().path();
    ASSIGN_OR_RETURN(UniqueFd root,
                     ToStatus(sys::OpenRootPath(path.c_str()), absl::StrCat("root ", path)));
    return Rootfs{.root = std::move(root), .descriptors = std::move(descriptors)};
  }
  ASSIGN_OR_RETURN(UniqueFd descriptors,
                   ToStatus(sys::OpenProcSelfFdAlone(), "clone /proc/self/fd"));
  ASSIGN_OR_RETURN(UniqueFd root, Builder(line, spec, plan).Build());
  return Rootfs{.root = std::move(root), .descriptors = std::move(descriptors)};
}

absl::Status EnterRootfs(const CommandLine& line, const Rootfs& rootfs) {
  if (line.config.unsafe_nonroot) return absl::OkStatus();
  if (!line.setup_root) return ToStatus(sys::ChrootInto(rootfs.root), "chroot into the root");
  return ToStatus(sys::PivotInto(rootfs.root), "pivot_root into the root");
}

absl::Status ResolveDestinations(const CommandLine& line, const ConnectionPlan& plan,
                                 BorrowedFd root, oci::Spec& spec) {
  for (const PlannedMount& planned : plan.mounts) {
    oci::Mount& mount = *spec.mutable_mounts(planned.spec_index);
    ASSIGN_OR_RETURN(const Place place, ResolveInRoot(root, mount.destination()));
    if (!place.Exists()) {
      return absl::NotFoundError(
          absl::StrCat("mount ", mount.destination(), ": ", place.Path(), " is not there"));
    }
    ASSIGN_OR_RETURN(const struct statfs fs,
                     ToStatus(sys::StatFs(place.file()), absl::StrCat("statfs ", place.Path())));
    mount.set_destination(place.Path());
    const int64_t magic = fs.f_type;
    if (magic == OVERLAYFS_SUPER_MAGIC) mount.add_options("overlayfs_stale_read");
    const bool no_sharing =
        (line.version == Version::kV24 && IsOneOf(magic, {NFS_SUPER_MAGIC})) ||
        (line.version == Version::kV26 && IsOneOf(magic, {NFS_SUPER_MAGIC, FUSE_SUPER_MAGIC}));
    if (no_sharing) mount.add_options("disable_file_handle_sharing");
  }
  return absl::OkStatus();
}

}  // namespace gofer::runsc
