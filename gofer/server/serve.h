// `gofer serve`: one directory for any number of LISAFS clients. The composition root of that
// command.
//
// Threads: called once, on the main thread, while there is no other.
// Errors:  InvalidArgument for what the command line got wrong, anything else for what went wrong
//          at run time.
// Source:  options.proto; spec/security.md s.1.

#ifndef GOFER_SERVER_SERVE_H_
#define GOFER_SERVER_SERVE_H_

#include "absl/status/statusor.h"
#include "gofer/server/options.pb.h"

namespace gofer::server {

// Why the service has ended.
enum class ServiceEnd {
  kClientsGone,  // all of those that it was started for
  kSignal,       // somebody wanted it to
};

absl::StatusOr<ServiceEnd> Serve(const ServeOptions& options);

}  // namespace gofer::server

#endif  // GOFER_SERVER_SERVE_H_
