// IdMap: translates user ids, or group ids, between a FUSE client and the host, by the rules of
// --translate-uid and --translate-gid.
//
// A rule is TYPE:NUMBERS, with the same separator between all fields: one byte that is neither a
// letter, a digit, '-' nor '_'. The two directions are independent of each other, and what no rule
// names stays the same number.
//   guest:G:H:N         a request's ids G, G+1, ... become H, H+1, ...
//   host:H:G:N          a file's ids H, H+1, ... are shown as G, G+1, ...
//   squash-guest:G:H:N  a request's N ids from G on all become H
//   squash-host:H:G:N   a file's N ids from H on are all shown as G
//   forbid-guest:G:N    a request may not make a file that belongs to them
//   map:G:H:N           both guest:G:H:N and host:H:G:N
//
// The id 4294967295 means "leave it as it is" wherever a client or the kernel sees it. No rule can
// name it, so it is never widened into another id, and no other id is ever turned into it.
//
// Threads: const functions are safe. Allocates only in Add.
// Errors:  InvalidArgument with the rule and what is wrong with it; EPERM for a forbidden id.
// Source:  spec/virtiofsd-parity.md section I.

#ifndef FUSE_SESSION_ID_MAP_H_
#define FUSE_SESSION_ID_MAP_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"

namespace gofer::fuse {

class IdMap {
 public:
  // Adds one rule. A range that overlaps one that was added before, in the same direction, is an
  // error, and so is one that leaves 0...4294967294. After an error the map is as it was.
  absl::Status Add(absl::string_view rule);

  // No rule: every id is itself.
  bool empty() const { return to_host_.empty() && to_guest_.empty(); }

  // The host's id for one that a request names; EPERM if it is forbidden.
  ErrnoOr<uint32_t> ToHost(uint32_t guest) const;
  // The id that the client sees for one of a file's.
  uint32_t ToGuest(uint32_t host) const;

 private:
  enum class Kind : uint8_t { kShift, kSquash, kForbid };
  struct Range {
    uint32_t first;
    uint32_t end;  // one past the last
    uint32_t target;
    Kind kind;
  };
  // Sorted by `first`, disjoint.
  using Ranges = std::vector<Range>;

  static const Range* Find(const Ranges& ranges, uint32_t id);
  static bool Overlaps(const Ranges& ranges, const Range& range);
  static void Insert(Ranges& ranges, const Range& range);

  Ranges to_host_;
  Ranges to_guest_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_ID_MAP_H_
