// Extended attributes. Which of them exist for a client is decided here, for every way in.

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <cstring>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fs {
namespace {

// The kernel's XATTR_NAME_MAX.
constexpr size_t kMaxXattrName = 255;

enum class Use { kRead, kWrite };

// user.* belongs to the client. File capabilities may be seen, since a sandbox asks for them at
// every exec, but not set. The rest (trusted, system, other security attributes, and overlayfs's
// own) would let a client act on the host beyond its tree.
bool IsAllowed(absl::string_view name, Use use) {
  if (absl::StartsWith(name, "user.")) return !absl::StartsWith(name, "user.overlay.");
  return use == Use::kRead && name == "security.capability";
}

// Any name that the kernel would look at.
ErrnoOr<std::string> CheckAnyName(absl::string_view name) {
  if (name.empty() || name.size() > kMaxXattrName) return Errno(ERANGE);
  if (std::memchr(name.data(), '\0', name.size()) != nullptr) return Errno(EINVAL);
  return std::string(name);
}

ErrnoOr<std::string> CheckName(absl::string_view name, Use use) {
  ASSIGN_OR_RETURN(std::string checked, CheckAnyName(name));
  if (!IsAllowed(name, use)) return Errno(EOPNOTSUPP);
  return checked;
}

bool HasXattrs(const Dentry& dentry) {
  return dentry.type() == S_IFREG || dentry.type() == S_IFDIR;
}

}  // namespace

ErrnoOr<UniqueFd> Filesystem::OpenForXattr(const Dentry& dentry) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return WithFdsToSpare([&] { return proc_fds_.Reopen(fd, O_RDONLY | O_NONBLOCK); });
}

ErrnoOr<size_t> Filesystem::GetXattr(Dentry& dentry, absl::string_view name,
                                     std::span<std::byte> value) {
  ASSIGN_OR_RETURN(const std::string checked, CheckName(name, Use::kRead));
  if (!HasXattrs(dentry)) return Errno(ENODATA);
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForXattr(dentry));
  return sys::GetXattr(fd, checked.c_str(), value);
}

ErrnoOr<void> Filesystem::SetXattr(Dentry& dentry, absl::string_view name,
                                   std::span<const std::byte> value, int flags) {
  ASSIGN_OR_RETURN(const std::string checked, CheckName(name, Use::kWrite));
  if (!HasXattrs(dentry)) return Errno(EPERM);
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForXattr(dentry));
  const ScopedChange change(dentry.inode());
  return sys::SetXattr(fd, checked.c_str(), value, flags);
}

ErrnoOr<size_t> Filesystem::ListXattr(Dentry& dentry, std::span<char> names) {
  if (!HasXattrs(dentry)) return size_t{0};
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForXattr(dentry));
  ASSIGN_OR_RETURN(const size_t size, sys::ListXattr(fd, names));
  // Close the gaps of those that are not shown.
  size_t kept = 0;
  for (size_t at = 0; at < size;) {
    const absl::string_view name(names.data() + at, strnlen(names.data() + at, size - at));
    const size_t length = name.size() + 1;
    if (IsAllowed(name, Use::kRead)) {
      std::memmove(names.data() + kept, names.data() + at, length);
      kept += length;
    }
    at += length;
  }
  return kept;
}

ErrnoOr<void> Filesystem::RemoveXattr(Dentry& dentry, absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string checked, CheckName(name, Use::kWrite));
  if (!HasXattrs(dentry)) return Errno(ENODATA);
  ASSIGN_OR_RETURN(const UniqueFd fd, OpenForXattr(dentry));
  const ScopedChange change(dentry.inode());
  return sys::RemoveXattr(fd, checked.c_str());
}

ErrnoOr<size_t> Filesystem::GetAnyXattr(Dentry& dentry, absl::string_view name,
                                        std::span<std::byte> value) {
  ASSIGN_OR_RETURN(const std::string checked, CheckAnyName(name));
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return proc_fds_.GetXattr(fd, checked.c_str(), value);
}

ErrnoOr<void> Filesystem::SetAnyXattr(Dentry& dentry, absl::string_view name,
                                      std::span<const std::byte> value, int flags) {
  ASSIGN_OR_RETURN(const std::string checked, CheckAnyName(name));
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  const ScopedChange change(dentry.inode());
  return proc_fds_.SetXattr(fd, checked.c_str(), value, flags);
}

ErrnoOr<size_t> Filesystem::ListAnyXattr(Dentry& dentry, std::span<char> names) {
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  return proc_fds_.ListXattr(fd, names);
}

ErrnoOr<void> Filesystem::RemoveAnyXattr(Dentry& dentry, absl::string_view name) {
  ASSIGN_OR_RETURN(const std::string checked, CheckAnyName(name));
  ASSIGN_OR_RETURN(const PathFd fd, Pin(dentry));
  const ScopedChange change(dentry.inode());
  return proc_fds_.RemoveXattr(fd, checked.c_str());
}

}  // namespace gofer::fs
