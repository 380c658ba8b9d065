// Ids of a user namespace: what an unprivileged process is inside one of its own.
//
// Threads: start-up only, while there is no other.
// Errors:  the kernel's errno.
// Source:  user_namespaces(7), newuidmap(1); spec/virtiofsd-parity.md D2-D5.

#ifndef GOFER_SYS_USER_NAMESPACE_H_
#define GOFER_SYS_USER_NAMESPACE_H_

#include <cstdint>

#include "gofer/base/errno.h"

namespace gofer::sys {

struct UserAndGroup {
  uint32_t uid;
  uint32_t gid;
};
UserAndGroup EffectiveIds();

// In a new user namespace, which nobody has mapped yet: `inside` is what the one id is called in it
// that the process had `outside`. Nobody in it can change supplementary groups from then on if the
// group is mapped so.
ErrnoOr<void> MapOwnUser(uint32_t inside, uint32_t outside);
ErrnoOr<void> MapOwnGroup(uint32_t inside, uint32_t outside);

}  // namespace gofer::sys

#endif  // GOFER_SYS_USER_NAMESPACE_H_
