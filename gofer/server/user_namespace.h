// A user namespace of the process's own: how somebody who is not root gets the namespaces of the
// sandbox.
//
// Without ranges, one's own user and group are mapped to themselves; with one that maps one's own
// id alone, to that. Everything else is the business of newuidmap(1) and newgidmap(1), which know
// what the system allows.
//
// Threads: start-up only. Errors: InvalidArgument for a range that is none; else what went wrong.
// Source:  spec/virtiofsd-parity.md D2-D5, I1, I2; user_namespaces(7).

#ifndef GOFER_SERVER_USER_NAMESPACE_H_
#define GOFER_SERVER_USER_NAMESPACE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace gofer::server {

struct IdRange {
  uint32_t inside;
  uint32_t outside;
  uint32_t count;
};

// :INSIDE:OUTSIDE:COUNT: with any delimiter that is neither letter nor digit.
absl::StatusOr<IdRange> ParseIdRange(absl::string_view text);

class UserNamespace {
 public:
  // While there is an environment: the two programs are looked for in its PATH.
  static absl::StatusOr<UserNamespace> Prepare(std::span<const std::string> uid_map,
                                               std::span<const std::string> gid_map);

  // From here on the process is in it, with all capabilities over it; as root if that is mapped.
  absl::Status Enter() const;

 private:
  struct Map {
    std::vector<IdRange> ranges;
    std::string program;  // empty: the one range is our own id
  };

  static absl::StatusOr<Map> PrepareMap(std::span<const std::string> texts, uint32_t own,
                                        absl::string_view program);
  // In the namespace that the process comes from.
  static bool RunPrograms(const UserNamespace& plan, int process);

  Map users_;
  Map groups_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_USER_NAMESPACE_H_
