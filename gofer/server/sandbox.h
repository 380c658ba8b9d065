// Confinement of the process, whatever command started it: what it inherited, what it sees, what it
// may do.
//
// In this order, each step failing closed:
//   ResetInheritedWorld   environment, signals, descriptors
//   UserNamespace, ContinueAsService   user and pid namespaces, where they are asked for
//   PrepareConfinement    what needs the real /proc and would fail or mislead later
//   EnterSandbox          `serve`: the served tree becomes all that there is (a container's root
//                         has its own way, gofer/runsc/rootfs.h)
//   Confine               limits, ids, capabilities, no_new_privs, not dumpable, Landlock, seccomp,
//                         for good; and a look whether all that is in force
//
// In force with --sandbox=namespace: own mount, ipc, net and uts namespaces, and a user namespace
// for whoever is not root; the served tree, cloned when it starts, is the root, nosuid and nodev,
// and read-only for a read-only export. With --pid_namespace a pid namespace too.
//
// Threads: the process is single-threaded until Confine has returned.
// Errors:  absl::Status with the step; the caller ends the process.
// Source:  spec/security.md s.1.

#ifndef GOFER_SERVER_SANDBOX_H_
#define GOFER_SERVER_SANDBOX_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "gofer/base/unique_fd.h"
#include "gofer/server/added_mounts.h"
#include "gofer/server/capabilities.h"
#include "gofer/server/landlock_policy.h"
#include "gofer/server/seccomp_filter.h"
#include "gofer/sys/own_records.h"

namespace gofer::server {

struct Confinement {
  CapabilityOptions capabilities;
  SeccompOptions seccomp;
  LandlockOptions landlock = {};
};

// What PrepareConfinement keeps for Confine: /proc/self.
struct Preparation {
  UniqueFd proc_self;
};

// What Confine has put in force, and the kernel's word about it from then on.
struct Confined {
  sys::OwnRecords records;
  LandlockState landlock;
};

// `keep` are the descriptors that the command line names; all others but the standard streams are
// closed. None survives an exec. Fails if one of them is not open.
absl::Status ResetInheritedWorld(std::span<const int> keep);

// In the process that will serve.
absl::StatusOr<Preparation> PrepareConfinement(const Confinement& confinement);

enum class SandboxMode { kNamespace, kChroot, kNone };

struct SandboxOptions {
  SandboxMode mode = SandboxMode::kNamespace;
  std::string root;
  bool read_only = false;
  // Clients may get descriptors of files, and map those executable: the mount may not be noexec
  // then.
  bool donates_files = true;
  // What the host mounts below the root later shows up; without, the tree stays what it was.
  bool follows_host_mounts = false;
  // With kNamespace only.
  std::vector<AddedMount> mounts = {};
};

struct ServedTree {
  UniqueFd root;         // O_PATH of the served directory
  UniqueFd descriptors;  // of /proc/self/fd
};

// Fails if somebody exchanges the served directory meanwhile.
absl::StatusOr<ServedTree> EnterSandbox(const SandboxOptions& options);

// `root` is the served directory, and the process's namespaces and root are what they will be.
// Limits and the working directory are changed here and not at the beginning because a container's
// hooks, which run in between, get those of the launcher.
absl::StatusOr<Confined> Confine(const Confinement& confinement, Preparation preparation,
                                 BorrowedFd root);

// Raises RLIMIT_NOFILE: to `wanted`, soft and hard, or without it the soft limit to the hard one.
// The soft limit in force afterwards. That a wanted one is more than allowed is only logged.
absl::StatusOr<uint64_t> RaiseDescriptorLimit(std::optional<uint64_t> wanted);
// The soft limit as it is.
absl::StatusOr<uint64_t> DescriptorLimit();
// How many of them file nodes and handles may take; the rest is for sockets, windows and the
// process itself.
uint64_t DescriptorsForFiles(uint64_t limit);

}  // namespace gofer::server

#endif  // GOFER_SERVER_SANDBOX_H_
