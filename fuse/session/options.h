// SessionOptions: what a FUSE mount may do and how long the client may believe us. Fixed for the
// life of a session; what the client can do of it is negotiated by INIT.
//
// The names are virtiofsd's, see spec/virtiofsd-parity.md sections C, F, I and M.

#ifndef FUSE_SESSION_OPTIONS_H_
#define FUSE_SESSION_OPTIONS_H_

#include <cstdint>

#include "fuse/session/id_map.h"
#include "fuse/session/xattr_map.h"

namespace gofer::fuse {

// How much the client may cache: timeouts and open flags follow, see spec/fuse.md s.8.1.
enum class CachePolicy { kNever, kMetadata, kAuto, kAlways };

struct SessionOptions {
  CachePolicy cache = CachePolicy::kAuto;
  bool readonly = false;
  bool readdirplus = true;  // kNever switches it off as well
  bool writeback = false;
  bool allow_direct_io = false;
  bool allow_mmap = false;
  bool preserve_noatime = false;
  bool xattr = false;  // implied by xattr_map, posix_acl and security_label
  XattrMap xattr_map = {};
  bool posix_acl = false;
  bool security_label = false;
  bool killpriv_v2 = false;
  bool announce_submounts = true;
  // Locks of fcntl and flock are the host's: other clients and the host see them.
  bool posix_locks = false;
  bool flock_locks = false;
  // Device nodes may be made; needs CAP_MKNOD.
  bool make_devices = false;
  // New files are made under the client's ids, as virtiofsd does it, instead of being made as root
  // and given away. For NFS with root squash and for quotas; needs CAP_SETUID and CAP_SETGID.
  bool switch_credentials = false;
  IdMap uid_map = {};
  IdMap gid_map = {};
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_OPTIONS_H_
