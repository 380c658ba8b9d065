// Builds the tree that the gofer serves: the container's root with the bind mounts of its spec in
// place, as the only thing that the process can see.
//
// Better than by paths: sources and root are cloned as detached trees (open_tree) before anything
// is changed, and put in place by descriptor. So no mount hides another's source, nothing is looked
// up twice, and no symlink that appears at a target is followed. The result is what runsc's own
// gofer sees after its chroot.
//
// Owner:   Rootfs owns its two descriptors; the mounts live as long as the mount namespace.
// Threads: start-up, single-threaded: the process's root changes.
// Errors:  absl::Status naming the mount; everything here is fatal.
// Source:  spec/runsc-gofer-launch.md s.5.2.

#ifndef GOFER_RUNSC_ROOTFS_H_
#define GOFER_RUNSC_ROOTFS_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "gofer/runsc/command_line.h"
#include "gofer/runsc/connection_plan.h"
#include "gofer/runsc/oci_spec.pb.h"

namespace gofer::runsc {

struct Rootfs {
  UniqueFd root;  // O_PATH of the container's root
  // The process's own descriptors (/proc/self/fd), alone in its mount: no way out by `..`.
  UniqueFd descriptors;
};

// Mounts, creates missing mount points and the working directory. The process's root is still the
// host's.
absl::StatusOr<Rootfs> BuildRootfs(const CommandLine& line, const oci::Spec& spec,
                                   const ConnectionPlan& plan);

// The process leaves the host's tree for `rootfs`.
absl::Status EnterRootfs(const CommandLine& line, const Rootfs& rootfs);

// Replaces the destinations of planned mounts by where they really are in the root, and tells the
// sandbox by options what their file systems do not do (spec s.5.6).
absl::Status ResolveDestinations(const CommandLine& line, const ConnectionPlan& plan,
                                 BorrowedFd root, oci::Spec& spec);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_ROOTFS_H_
