// Every host call of gofer/sys, and which sweep makes it fail: a call that is in none of them has a
// reason here. seam_sites_test compares this with the sources, fault_sweep_test with what its sweeps
// did.

#ifndef TEST_HOSTILE_SEAM_SITES_H_
#define TEST_HOSTILE_SEAM_SITES_H_

#include "absl/strings/string_view.h"

namespace gofer::testing {

enum class Sweep {
  kSandbox,    // calls for a LISAFS client
  kGuest,      // calls for a guest
  kDisk,       // those that write back a whole file system: for a guest too, but rarely
  kByHandle,   // a guest's, where files are held by file handles
  kPeers,      // calls by which the gofer speaks to a LISAFS client
  kOldKernel,  // made instead of another one where the kernel does not have that
  kOtherwise,  // see `why`
};

struct SeamSite {
  absl::string_view file;  // in gofer/sys
  absl::string_view call;  // "*": all of the file
  Sweep sweep;
  absl::string_view why = "";
};

inline constexpr absl::string_view kSetUp =
    "before a client is served: //test/hostile:start_fail_closed_test";
inline constexpr absl::string_view kImages =
    "saves and restores: //test/checkpoint:ckpt_fault_test";
inline constexpr absl::string_view kIdentity =
    "what cannot be put back ends the process (security.md s.7): //gofer/sys:thread_identity_test";
inline constexpr absl::string_view kMonitor =
    "a monitor's connection, which may end: //test/hostile:vu_reconnect_test";
inline constexpr absl::string_view kOwnMount =
    "a mount on this machine, which ends with it: //gofer/server:serve_fuse_test";

inline constexpr SeamSite kSeamSites[] = {
    {"host_fs.cc", "openat2", Sweep::kSandbox},
    {"host_fs.cc", "statx", Sweep::kSandbox},
    {"host_fs.cc", "fstatfs", Sweep::kSandbox},
    {"host_fs.cc", "readlinkat", Sweep::kSandbox},
    {"host_fs.cc", "pread64", Sweep::kSandbox},
    {"host_fs.cc", "pwrite64", Sweep::kSandbox},
    {"host_fs.cc", "fsync", Sweep::kSandbox},
    {"host_fs.cc", "ftruncate", Sweep::kSandbox},
    {"host_fs.cc", "fallocate", Sweep::kSandbox},
    {"host_fs.cc", "getdents64", Sweep::kSandbox},
    {"host_fs.cc", "lseek", Sweep::kSandbox},
    {"host_fs.cc", "fchownat", Sweep::kSandbox},
    {"host_fs.cc", "utimensat", Sweep::kSandbox},
    {"host_fs.cc", "openat", Sweep::kSandbox},
    {"host_fs.cc", "mkdirat", Sweep::kSandbox},
    {"host_fs.cc", "mknodat", Sweep::kSandbox},
    {"host_fs.cc", "symlinkat", Sweep::kSandbox},
    {"host_fs.cc", "unlinkat", Sweep::kSandbox},
    {"host_fs.cc", "renameat2", Sweep::kSandbox},
    {"host_fs.cc", "fgetxattr", Sweep::kSandbox},
    {"host_fs.cc", "fsetxattr", Sweep::kSandbox},
    {"host_fs.cc", "flistxattr", Sweep::kSandbox},
    {"host_fs.cc", "fremovexattr", Sweep::kSandbox},
    {"host_fs.cc", "linkat", Sweep::kSandbox},
    {"host_fs.cc", "fchmodat2", Sweep::kSandbox},
    {"host_fs.cc", "fchmodat", Sweep::kOldKernel},
    {"host_fs.cc", "open", Sweep::kOtherwise, kSetUp},
    {"file_io.cc", "preadv2", Sweep::kGuest},
    {"file_io.cc", "pwritev2", Sweep::kGuest},
    {"file_io.cc", "lseek", Sweep::kGuest},
    {"file_io.cc", "copy_file_range", Sweep::kGuest},
    {"file_io.cc", "fdatasync", Sweep::kGuest},
    {"file_io.cc", "syncfs", Sweep::kDisk},
    {"file_io.cc", "fcntl", Sweep::kGuest},
    {"file_io.cc", "flock", Sweep::kGuest},
    {"file_io.cc", "ioctl", Sweep::kGuest},
    {"proc_fds_xattr.cc", "openat", Sweep::kGuest},
    {"proc_fds_xattr.cc", "getxattrat", Sweep::kGuest},
    {"proc_fds_xattr.cc", "setxattrat", Sweep::kGuest},
    {"proc_fds_xattr.cc", "listxattrat", Sweep::kGuest},
    {"proc_fds_xattr.cc", "removexattrat", Sweep::kGuest},
    {"proc_fds_xattr.cc", "getxattr", Sweep::kOldKernel},
    {"proc_fds_xattr.cc", "setxattr", Sweep::kOldKernel},
    {"proc_fds_xattr.cc", "listxattr", Sweep::kOldKernel},
    {"proc_fds_xattr.cc", "removexattr", Sweep::kOldKernel},
    {"file_handle.cc", "name_to_handle_at", Sweep::kByHandle},
    {"file_handle.cc", "open_by_handle_at", Sweep::kByHandle},
    {"memory_map.cc", "memfd_create", Sweep::kSandbox},
    {"memory_map.cc", "ftruncate", Sweep::kSandbox},
    {"memory_map.cc", "fcntl", Sweep::kSandbox},
    {"socket.cc", "socket", Sweep::kSandbox},
    {"socket.cc", "fchmod", Sweep::kSandbox},
    {"socket.cc", "bind", Sweep::kSandbox},
    {"socket.cc", "connect", Sweep::kSandbox},
    {"socket.cc", "listen", Sweep::kSandbox},
    {"socket.cc", "accept4", Sweep::kSandbox},
    {"socket.cc", "socketpair", Sweep::kSandbox},
    {"socket.cc", "fcntl", Sweep::kSandbox},
    {"socket.cc", "setsockopt", Sweep::kSandbox},
    {"socket.cc", "recvfrom", Sweep::kPeers},
    {"socket.cc", "recvmsg", Sweep::kOtherwise, kMonitor},
    {"socket.cc", "sendmsg", Sweep::kPeers},
    {"socket.cc", "getsockopt", Sweep::kOtherwise,
     "who gives commands: //test/hostile:control_auth_test"},
    {"thread_identity.cc", "unshare", Sweep::kSandbox},
    {"thread_identity.cc", "fchdir", Sweep::kSandbox},
    {"thread_identity.cc", "setresuid", Sweep::kOtherwise, kIdentity},
    {"thread_identity.cc", "setresgid", Sweep::kOtherwise, kIdentity},
    {"thread_identity.cc", "setgroups", Sweep::kOtherwise, kIdentity},
    {"thread_identity.cc", "capget", Sweep::kOtherwise, kIdentity},
    {"thread_identity.cc", "capset", Sweep::kOtherwise, kIdentity},
    {"pipe.cc", "*", Sweep::kOtherwise,
     "FIFOs in saves and restores, which are refused then: //gofer/sys:pipe_test"},
    {"stream.cc", "*", Sweep::kOtherwise,
     "a migration, which ends with it: //gofer/sys:stream_test"},
    {"own_directory.cc", "*", Sweep::kOtherwise, kImages},
    {"random.cc", "*", Sweep::kOtherwise, kImages},
    {"dev_fuse.cc", "*", Sweep::kOtherwise, kOwnMount},
    {"helper_process.cc", "*", Sweep::kOtherwise, kOwnMount},
    {"interrupt.cc", "*", Sweep::kOtherwise, kOwnMount},
    {"edge_poll.cc", "*", Sweep::kOtherwise, kMonitor},
    {"event_fd.cc", "*", Sweep::kOtherwise, kMonitor},
    {"hangup.cc", "*", Sweep::kOtherwise, kMonitor},
    {"poll.cc", "*", Sweep::kOtherwise,
     "how a thread waits; only EINTR is possible: //gofer/sys:poll_test"},
    {"own_records.cc", "*", Sweep::kOtherwise,
     "a command's answer: //test/hostile:confine_state_test"},
    {"child.cc", "*", Sweep::kOtherwise, kSetUp},
    {"landlock.cc", "*", Sweep::kOtherwise, kSetUp},
    {"lock_file.cc", "*", Sweep::kOtherwise, kSetUp},
    {"mount_api.cc", "*", Sweep::kOtherwise, kSetUp},
    {"process.cc", "*", Sweep::kOtherwise, kSetUp},
    {"program.cc", "*", Sweep::kOtherwise, kSetUp},
    {"user_namespace.cc", "*", Sweep::kOtherwise, kSetUp},
};

}  // namespace gofer::testing

#endif  // TEST_HOSTILE_SEAM_SITES_H_
