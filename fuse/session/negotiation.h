// Negotiation: what INIT agrees on, and the promises about caching that follow from the options.
//
// Threads: values. Errors: EPROTO for a client that is too old, or lacks what an option depends on.
// Source:  spec/fuse.md s.2 and s.8; spec/virtiofsd-parity.md sections C and P.

#ifndef FUSE_SESSION_NEGOTIATION_H_
#define FUSE_SESSION_NEGOTIATION_H_

#include <cstdint>

#include "absl/status/status.h"
#include "fuse/session/options.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/requests.h"
#include "gofer/base/errno.h"

namespace gofer::fuse {

// What a client may rely on for how long.
struct CacheRules {
  uint64_t valid_s;    // names and attributes
  uint32_t file_open;  // OpenOut::open_flags
  uint32_t dir_open;
  bool negative;  // that a name is missing may be relied on as long

  static CacheRules Of(CachePolicy policy);
};

// The result of INIT: fixed until the next one.
struct Granted {
  uint32_t minor = 0;  // the lower of both sides'
  uint64_t flags = 0;  // of namespace init
  // The client sends requests again when it is told to. It says so and expects no answer.
  bool can_resend = false;

  bool Has(uint64_t flag) const { return (flags & flag) != 0; }
};

struct Negotiation {
  InitOut reply;
  // Otherwise the client has a newer major version, and will ask again with ours.
  bool agreed;
  Granted granted;
};
ErrnoOr<Negotiation> Negotiate(const InitReq& request, const SessionOptions& options);

// Whether a client to whom that was granted, by another session, can go on with these options: it
// relies on what it was granted, and will not ask again. kFailedPrecondition names what is missing.
absl::Status CheckGranted(const Granted& granted, const SessionOptions& options);

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_NEGOTIATION_H_
