// Name: one checked component of a path. The core and the syscall seam take nothing else, so the
// check cannot be forgotten and nothing that a client sends can lead out of the directory it is
// used in.
//
// A Name is 1 to 255 bytes without '/' and NUL, and is neither "." nor "..". Any other byte is
// allowed: names are bytes, not text.
//
// Owner:   a Name owns its bytes and their terminating NUL (256 bytes on the stack, no allocation),
//          so that system calls get a C string that the peer cannot change after the check.
// Errors:  Parse answers EINVAL for what can be no name, ENAMETOOLONG for one that is too long: the
//          kernel's numbers, and those of the LISAFS reference.
// Source:  spec/security.md s.2, spec/lisafs.md s.4.4.

#ifndef GOFER_BASE_NAME_H_
#define GOFER_BASE_NAME_H_

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"

namespace gofer {

inline constexpr size_t kMaxNameBytes = 255;
// PATH_MAX without the NUL: what the kernel takes as the target of a symbolic link.
inline constexpr size_t kMaxSymlinkTargetBytes = 4095;

class Name {
 public:
  static ErrnoOr<Name> Parse(absl::string_view bytes);
  // The part of the check that does not concern the length, EINVAL: for a peer that sees the order
  // of checks. LISAFS judges the bytes of a name before anything else, and leaves its length to the
  // host.
  static ErrnoOr<void> CheckBytes(absl::string_view bytes);

  Name(const Name& other);
  Name& operator=(const Name& other);

  absl::string_view view() const { return absl::string_view(bytes_, size_); }
  const char* c_str() const { return bytes_; }

 private:
  explicit Name(absl::string_view checked);

  uint16_t size_;
  char bytes_[kMaxNameBytes + 1];  // only the first size_ + 1 are ever initialised or read
};

// The target of a symbolic link with its NUL: 1 to 4095 bytes, anything but NUL in it. The gofer
// never follows one, so what it says does not matter. Errors: ENOENT when empty, EINVAL for a NUL
// inside, ENAMETOOLONG.
class SymlinkTarget {
 public:
  static ErrnoOr<SymlinkTarget> Parse(absl::string_view bytes);

  const char* c_str() const { return bytes_; }

 private:
  explicit SymlinkTarget(absl::string_view checked);

  char bytes_[kMaxSymlinkTargetBytes + 1];
};

}  // namespace gofer

#endif  // GOFER_BASE_NAME_H_
