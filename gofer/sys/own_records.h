// What the kernel says about this process, for one that will not have /proc any more: three of its
// files there, opened while they can be and read again at any time.
//
// They are files that only tell; the directories that they are in would let their holder write to
// the process's memory.
//
// Owner:   OwnRecords owns its descriptors. Threads: reading, one at a time: the files have one
//          position each.
// Errors:  the kernel's errno.
// Source:  proc(5): status, limits, mountinfo, ns/.

#ifndef GOFER_SYS_OWN_RECORDS_H_
#define GOFER_SYS_OWN_RECORDS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// /proc/self as O_PATH. Only while /proc is there, and in the process that it is to be about.
ErrnoOr<UniqueFd> OpenProcSelf();

struct NamespaceId {
  std::string kind;  // user, mnt, pid, net, ipc, uts, cgroup
  uint64_t id = 0;   // as in the links of /proc/PID/ns
};

class OwnRecords {
 public:
  // When the process has the namespaces and the root that it will keep: mounts are listed as seen
  // from there.
  static ErrnoOr<OwnRecords> Open(BorrowedFd proc_self);

  // Of the process's first thread, now.
  ErrnoOr<std::string> Status() const;
  ErrnoOr<std::string> Limits() const;
  ErrnoOr<std::string> Mounts() const;
  // These cannot change any more once the process is confined: as they were at Open.
  const std::vector<NamespaceId>& namespaces() const { return namespaces_; }
  const std::string& uid_map() const { return uid_map_; }
  const std::string& gid_map() const { return gid_map_; }

 private:
  OwnRecords() = default;

  UniqueFd status_;
  UniqueFd limits_;
  UniqueFd mounts_;
  std::vector<NamespaceId> namespaces_;
  std::string uid_map_;
  std::string gid_map_;
};

// The namespaces of any process, by its directory in /proc. Those that may not be seen are left
// out.
std::vector<NamespaceId> NamespacesOf(BorrowedFd proc_process);

}  // namespace gofer::sys

#endif  // GOFER_SYS_OWN_RECORDS_H_
