#include "test/golden/golden_requests.h"

#include <cstring>
#include <fstream>

#include "absl/strings/escaping.h"
#include "absl/strings/strip.h"
#include "glog/logging.h"

namespace gofer::fuse::golden {

InHeader Request::header() const {
  InHeader header;
  CHECK_GE(bytes.size(), sizeof(header));
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header;
}

std::vector<Request> ReadRequests() {
  constexpr char kPath[] = "test/golden/fuse/requests.txt";
  std::ifstream file(kPath);
  CHECK(file) << kPath;
  std::vector<Request> requests;
  std::string line;
  while (std::getline(file, line)) {
    absl::string_view rest = line;
    if (absl::ConsumePrefix(&rest, "request ")) {
      const size_t space = rest.find(' ');
      CHECK(space != absl::string_view::npos) << line;
      requests.push_back({.opcode = {}, .name = std::string(rest.substr(space + 1)), .bytes = ""});
    } else if (absl::ConsumePrefix(&rest, "bytes ")) {
      CHECK(!requests.empty()) << line;
      requests.back().bytes = absl::HexStringToBytes(rest);
      requests.back().opcode = requests.back().header().opcode;
    } else {
      CHECK(rest.empty() || rest[0] == '#') << line;
    }
  }
  return requests;
}

Request Find(Opcode opcode, absl::string_view name) {
  for (Request& request : ReadRequests()) {
    if (request.opcode == opcode && request.name == name) return std::move(request);
  }
  LOG(FATAL) << "no golden " << OpcodeName(opcode) << " " << name;
  __builtin_unreachable();
}

}  // namespace gofer::fuse::golden
