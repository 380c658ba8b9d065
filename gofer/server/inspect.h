// `gofer inspect`: shows an image, and predicts what a restore of it would say.
//
// Threads: called once, on the main thread. Errors: absl::Status, those of the image; with --verify
//          and files that are not what they were one that has kExitMismatch.
// Source:  the design's command line.

#ifndef GOFER_SERVER_INSPECT_H_
#define GOFER_SERVER_INSPECT_H_

#include <string>

#include "absl/status/status.h"
#include "gofer/server/flags.h"

namespace gofer::server {

// `image` is an image file, or a directory with one. What it says goes to stdout.
absl::Status Inspect(const CommandFlags& flags, const std::string& image);

}  // namespace gofer::server

#endif  // GOFER_SERVER_INSPECT_H_
