// The policy of FUSE clients, from the command line's words to what a session works by.
//
// Errors:  InvalidArgument: flag, value, what is wrong with it; flags that cannot be together.
// Threads: values. Source: options.proto; spec/virtiofsd-parity.md sections C, F, I and L.

#ifndef GOFER_SERVER_FUSE_OPTIONS_H_
#define GOFER_SERVER_FUSE_OPTIONS_H_

#include "absl/status/statusor.h"
#include "fuse/session/options.h"
#include "gofer/server/options.pb.h"

namespace gofer::server {

// `options.fuse` with `options.readonly`.
absl::StatusOr<fuse::SessionOptions> ToSessionOptions(const ServeOptions& options);

}  // namespace gofer::server

#endif  // GOFER_SERVER_FUSE_OPTIONS_H_
