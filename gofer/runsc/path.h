// Text of paths, never the files: what Go's filepath.Clean does, which runsc applies to every path
// before use.
//
// Source: Go path/filepath.

#ifndef GOFER_RUNSC_PATH_H_
#define GOFER_RUNSC_PATH_H_

#include <string>

#include "absl/strings/string_view.h"

namespace gofer::runsc {

// Drops empty and "." components, and each ".." with the name before it; ".." at the root of an
// absolute path goes too, leading ones of a relative path stay. The empty path is ".".
std::string CleanPath(absl::string_view path);

}  // namespace gofer::runsc

#endif  // GOFER_RUNSC_PATH_H_
