#include "test/support/host_calls.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>

#include <algorithm>
#include <iterator>

namespace gofer::testing {

bool IsHostCall(const SystemCall& call) {
  constexpr long kCalls[] = {
      SYS_openat,          SYS_openat2,    SYS_statx,      SYS_newfstatat,
      SYS_fstat,           SYS_statfs,     SYS_fstatfs,    SYS_readlinkat,
      SYS_getdents64,      SYS_lseek,      SYS_read,       SYS_pread64,
      SYS_preadv,          SYS_preadv2,    SYS_write,      SYS_writev,
      SYS_pwrite64,        SYS_pwritev,    SYS_pwritev2,   SYS_fsync,
      SYS_fdatasync,       SYS_ftruncate,  SYS_fallocate,  SYS_sync_file_range,
      SYS_syncfs,          SYS_renameat,   SYS_renameat2,  SYS_unlinkat,
      SYS_linkat,          SYS_symlinkat,  SYS_mkdirat,    SYS_mknodat,
      SYS_fchmodat,        SYS_fchmod,     SYS_fchown,     SYS_fchownat,
      SYS_utimensat,       SYS_fgetxattr,  SYS_fsetxattr,  SYS_flistxattr,
      SYS_fremovexattr,    SYS_getxattr,   SYS_setxattr,   SYS_listxattr,
      SYS_removexattr,     SYS_fchdir,     SYS_ioctl,      SYS_flock,
      SYS_copy_file_range, SYS_splice,     SYS_tee,        SYS_pipe2,
      SYS_socket,          SYS_bind,       SYS_connect,    SYS_listen,
      SYS_accept4,         SYS_socketpair, SYS_setsockopt, SYS_sendmsg,
      SYS_recvmsg,         SYS_recvfrom,   SYS_getrandom,  SYS_memfd_create};
  // Those that the headers of this machine may not name yet: fchmodat2, and setxattrat to
  // removexattrat.
  if (call.number == 452 || (call.number >= 463 && call.number <= 466)) return true;
  if (call.number == SYS_name_to_handle_at || call.number == SYS_open_by_handle_at) return true;
  // A thread's own working directory; namespaces are made before anybody is served.
  if (call.number == SYS_unshare) return call.args[0] == CLONE_FS;
  if (call.number == SYS_fcntl) {
    // These fail for a descriptor that is not open, and for nothing else.
    const auto command = static_cast<int>(call.args[1]);
    return command != F_GETFD && command != F_SETFD && command != F_GETFL && command != F_SETFL;
  }
  return std::find(std::begin(kCalls), std::end(kCalls), call.number) != std::end(kCalls);
}

}  // namespace gofer::testing
