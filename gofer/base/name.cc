#include "gofer/base/name.h"

#include <cstring>

namespace gofer {

ErrnoOr<void> Name::CheckBytes(absl::string_view bytes) {
  if (bytes.empty() || bytes == "." || bytes == "..") return Errno(EINVAL);
  if (std::memchr(bytes.data(), '/', bytes.size()) != nullptr) return Errno(EINVAL);
  if (std::memchr(bytes.data(), '\0', bytes.size()) != nullptr) return Errno(EINVAL);
  return {};
}

ErrnoOr<Name> Name::Parse(absl::string_view bytes) {
  if (const ErrnoOr<void> checked = CheckBytes(bytes); !checked.ok()) return checked.error();
  if (bytes.size() > kMaxNameBytes) return Errno(ENAMETOOLONG);
  return Name(bytes);
}

Name::Name(absl::string_view checked) : size_(static_cast<uint16_t>(checked.size())) {
  std::memcpy(bytes_, checked.data(), checked.size());
  bytes_[checked.size()] = '\0';
}

Name::Name(const Name& other) : Name(other.view()) {}

Name& Name::operator=(const Name& other) {
  if (this != &other) {
    size_ = other.size_;
    std::memcpy(bytes_, other.bytes_, size_t{other.size_} + 1);
  }
  return *this;
}

ErrnoOr<SymlinkTarget> SymlinkTarget::Parse(absl::string_view bytes) {
  if (bytes.empty()) return Errno(ENOENT);
  if (std::memchr(bytes.data(), '\0', bytes.size()) != nullptr) return Errno(EINVAL);
  if (bytes.size() > kMaxSymlinkTargetBytes) return Errno(ENAMETOOLONG);
  return SymlinkTarget(bytes);
}

SymlinkTarget::SymlinkTarget(absl::string_view checked) {
  std::memcpy(bytes_, checked.data(), checked.size());
  bytes_[checked.size()] = '\0';
}

}  // namespace gofer
