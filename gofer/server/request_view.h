// What clients have asked for, as `gofer status` shows it: how often, how quickly, and which errors
// they got, operation by operation.
//
// Requests and errors are all since the gofer serves. Rates and percentiles are too, or, where a
// status from before is given, of the time since then: what `--watch` shows.
//
// Threads: pure functions. Errors: none. Units: requests per second, microseconds.

#ifndef GOFER_SERVER_REQUEST_VIEW_H_
#define GOFER_SERVER_REQUEST_VIEW_H_

#include <string>

#include "gofer/control/control.pb.h"

namespace gofer::server {

// A table for each way in that there were requests of; `before` may be null.
std::string RequestsAsTables(const control::Status& now, const control::Status* before);
// A JSON list, of one way in by its number.
std::string RequestsAsJson(const control::Status& now, const control::Status* before, int way);

// "ENOENT"; "other" for a number that Linux does not have.
std::string NameOf(const control::ErrnoCount& error);

}  // namespace gofer::server

#endif  // GOFER_SERVER_REQUEST_VIEW_H_
