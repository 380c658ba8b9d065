// Capabilities: the few that serving files needs, and the end of all others.
//
// Two steps, because libcap-ng reads /proc, and after the root has changed /proc belongs to whoever
// made the served tree: DropBoundingSet while the real /proc is there, LimitCapabilities when
// nothing more has to be set up.
//
// Threads: per thread in the kernel, so both before the first further thread starts.
// Errors:  what could not be dropped; the caller ends the process.
// Source:  capabilities(7); spec/security.md s.1; spec/runsc-gofer-launch.md s.5.4.

#ifndef GOFER_SERVER_CAPABILITIES_H_
#define GOFER_SERVER_CAPABILITIES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace gofer::server {

struct CapabilityOptions {
  // Host sockets are connected to as the application's user, which takes SETUID and SETGID (LISAFS
  // ConnectWithCreds, --creds=switch).
  bool switch_ids = false;
  // Clients may make device nodes: MKNOD.
  bool make_devices = false;
  // Clients may set file capabilities: SETFCAP.
  bool set_file_capabilities = false;
  // Files are opened by handle: DAC_READ_SEARCH.
  bool open_by_handle = false;
  // What the command line adds and takes away, CAP_* numbers.
  std::vector<int> added = {};
  std::vector<int> removed = {};
};

// +NAME and -NAME, separated by colons, into `options`; the last word about a capability counts.
// Names are without CAP_, in any case. InvalidArgument for what is no list, and for taking away
// what `options` need.
absl::Status ModifyCapabilities(absl::string_view list, CapabilityOptions& options);

// CAP_* numbers: CHOWN (new files get the client's owner), DAC_OVERRIDE (the client checks
// permissions itself), FOWNER (chmod, utimens, xattrs of others' files), FSETID (setuid and setgid
// bits survive where a request sets them), and what the options ask for beyond. What gVisor's gofer
// keeps always, DAC_READ_SEARCH and SYS_CHROOT, is not needed: DAC_OVERRIDE covers the first unless
// files are opened by handle, and the root is pivoted into before capabilities go.
std::vector<int> NeededCapabilities(const CapabilityOptions& options);

// Without CAP_, as capabilities(7) has it; and what a gofer keeps it for.
std::string CapabilityName(int capability);
absl::string_view CapabilityReason(int capability);

// No exec can ever gain another capability. Nothing to do, and no error, without CAP_SETPCAP: then
// no_new_privs has to be enough.
absl::Status DropBoundingSet(const CapabilityOptions& options);

// Effective and permitted become what is needed and held; inheritable and ambient become empty.
absl::Status LimitCapabilities(const CapabilityOptions& options);

// None is left, of any kind but the bounding set.
absl::Status DropAllCapabilities();

}  // namespace gofer::server

#endif  // GOFER_SERVER_CAPABILITIES_H_
