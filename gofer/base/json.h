// Text as JSON.
//
// Threads: safe.

#ifndef GOFER_BASE_JSON_H_
#define GOFER_BASE_JSON_H_

#include <string>

#include "absl/strings/string_view.h"

namespace gofer {

// A JSON string with its quotes. Bytes that are not UTF-8 come out as \ufffd.
std::string JsonQuote(absl::string_view text);
// Whether JsonQuote keeps every byte.
bool IsUtf8(absl::string_view text);

}  // namespace gofer

#endif  // GOFER_BASE_JSON_H_
