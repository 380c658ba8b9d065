// The options of OCI mounts as what the kernel can do with them.
//
// Source: runtime-spec config.md "mounts"; mount(8); spec/runsc-gofer-launch.md s.5.2.

#ifndef GOFER_RUNSC_MOUNT_OPTIONS_H_
#define GOFER_RUNSC_MOUNT_OPTIONS_H_

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/runsc/oci_spec.pb.h"
#include "gofer/sys/mount_api.h"

namespace gofer::runsc {

struct Propagation {
  unsigned long type;  // MS_PRIVATE, MS_SLAVE or MS_UNBINDABLE
  sys::Recursive recursive;

  friend bool operator==(const Propagation&, const Propagation&) = default;
};

struct MountOptions {
  sys::Recursive recursive = sys::Recursive::kNo;  // rbind: mounts below the source come along
  uint64_t attributes = 0;                         // MOUNT_ATTR_* to set
  std::optional<uint64_t> atime;                   // one of the MOUNT_ATTR__ATIME values
  std::optional<Propagation> propagation;
};

// Options are taken in order, so that `ro,rw` is read-write; those that mean nothing to a bind
// mount are ignored, as runsc has refused what nobody knows.
MountOptions ParseMountOptions(const oci::Mount& mount);

// linux.rootfsPropagation: [r]private or [r]slave.
absl::StatusOr<Propagation> ParseRootPropagation(absl::string_view text);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_MOUNT_OPTIONS_H_
