// Reads test/golden/fuse/requests.txt: what a real FUSE client has sent.
//
// A file that cannot be read or parsed ends the test. Threads: values.

#ifndef TEST_GOLDEN_GOLDEN_REQUESTS_H_
#define TEST_GOLDEN_GOLDEN_REQUESTS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "fuse/wire/abi.h"

namespace gofer::fuse::golden {

struct Request {
  Opcode opcode;
  std::string name;  // "plain"
  std::string bytes;

  InHeader header() const;
  // What follows the header.
  absl::string_view args() const { return absl::string_view(bytes).substr(sizeof(InHeader)); }
};

std::vector<Request> ReadRequests();
// The one of that opcode and name.
Request Find(Opcode opcode, absl::string_view name = "plain");

}  // namespace gofer::fuse::golden

#endif  // TEST_GOLDEN_GOLDEN_REQUESTS_H_
