// XattrMap: renames extended attributes between a FUSE client and the host, by the rules of
// --xattrmap.
//
// A rule is :TYPE:SCOPE:KEY:PREPEND: with any one delimiter instead of the colon; rules may be
// separated by blanks and newlines. The first rule that matches decides. A name that the client
// uses matches by beginning with KEY (scope client or all), a name that the host has matches by
// beginning with PREPEND (scope server or all). Types:
//   prefix       the client's name gets PREPEND in front; the host's loses it
//   ok           the name passes unchanged
//   bad          refused with EPERM, reading with ENODATA; hidden from lists
//   unsupported  refused with EOPNOTSUPP; hidden from lists
// :map:KEY:PREPEND: may stand last, and is short for three rules: prefix all KEY PREPEND, then bad
// for names that already begin with PREPEND, or with KEY on the host, then ok for the rest; with an
// empty KEY just prefix, and bad for the rest.
//
// Names are bytes, not text.
//
// Threads: const functions are safe, and do not allocate.
// Errors:  InvalidArgument with the rule's number and what is wrong; a map that leaves some name
//          undecided is refused. ERANGE for a name that gets too long for the kernel.
// Source:  spec/virtiofsd-parity.md F10-F28.

#ifndef FUSE_SESSION_XATTR_MAP_H_
#define FUSE_SESSION_XATTR_MAP_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"

namespace gofer::fuse {

class XattrMap {
 public:
  // The kernel's XATTR_NAME_MAX.
  static constexpr size_t kMaxName = 255;
  // Where ToHost makes a name.
  using Buffer = char[kMaxName];

  // Without rules, which passes every name.
  XattrMap() = default;
  static absl::StatusOr<XattrMap> Parse(absl::string_view rules);

  bool empty() const { return rules_.empty(); }

  // The host's name for one that the client uses: `name` itself, or one in `buffer`.
  enum class Use { kRead, kChange };
  ErrnoOr<absl::string_view> ToHost(absl::string_view name, Use use, Buffer& buffer) const;
  // The client's name for one that the host has, a part of `name`; none if it is hidden.
  std::optional<absl::string_view> ToClient(absl::string_view name) const;

  // Turns a list of the host's names, each with its NUL, into the client's, in place; its size.
  size_t FilterList(std::span<char> list) const;

 private:
  enum class Type : uint8_t { kPrefix, kOk, kBad, kUnsupported };
  struct Rule {
    Type type;
    bool client;
    bool server;
    std::string key;
    std::string prepend;
  };
  class Parser;

  std::vector<Rule> rules_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_XATTR_MAP_H_
