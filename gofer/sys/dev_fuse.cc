#include "gofer/sys/dev_fuse.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

constexpr char kPath[] = "/dev/fuse";
// Linux's devices.txt
constexpr unsigned kMajor = 10;
constexpr unsigned kMinor = 229;
// linux/fuse.h 7.40
constexpr int32_t kNotifyResend = 7;

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> Opened(int64_t fd) {
  if (fd < 0) return Errno::Last();
  return UniqueFd(static_cast<int>(fd));
}

}  // namespace

ErrnoOr<UniqueFd> OpenDevFuse() {
  return Opened(Call("open", [] { return ::open(kPath, O_RDWR | O_CLOEXEC); }));
}

ErrnoOr<void> CheckDevFuse(BorrowedFd device) {
  struct stat st;
  RETURN_IF_ERROR(Done(Call("fstat", [&] { return ::fstat(device.get(), &st); })));
  if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(kMajor, kMinor)) return Errno(ENODEV);
  const int flags = Call("fcntl", [&] { return ::fcntl(device.get(), F_GETFL); });
  if (flags < 0) return Errno::Last();
  if ((flags & O_ACCMODE) != O_RDWR) return Errno(ENODEV);
  return {};
}

ErrnoOr<UniqueFd> CloneDevFuse(BorrowedFd device) {
  ASSIGN_OR_RETURN(UniqueFd clone, OpenDevFuse());
  uint32_t connection = static_cast<uint32_t>(device.get());
  RETURN_IF_ERROR(
      Done(Call("ioctl", [&] { return ::ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &connection); })));
  return clone;
}

ErrnoOr<UniqueFd> NewFuseMount(BorrowedFd device, const FuseMountOptions& options) {
  ASSIGN_OR_RETURN(
      const UniqueFd context,
      Opened(Call("fsopen", [] { return syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC); })));
  const auto configure = [&](unsigned command, const char* key, const char* value) {
    return Done(Call("fsconfig",
                     [&] { return syscall(SYS_fsconfig, context.get(), command, key, value, 0); }));
  };
  const auto set = [&](const char* key, const std::string& value) {
    return configure(FSCONFIG_SET_STRING, key, value.c_str());
  };
  RETURN_IF_ERROR(set("source", options.source));
  RETURN_IF_ERROR(set("subtype", options.subtype));
  RETURN_IF_ERROR(set("fd", absl::StrFormat("%d", device.get())));
  RETURN_IF_ERROR(set("rootmode", absl::StrFormat("%o", options.root_mode)));
  RETURN_IF_ERROR(set("user_id", absl::StrFormat("%d", ::geteuid())));
  RETURN_IF_ERROR(set("group_id", absl::StrFormat("%d", ::getegid())));
  RETURN_IF_ERROR(configure(FSCONFIG_SET_FLAG, "default_permissions", nullptr));
  if (options.allow_other) RETURN_IF_ERROR(configure(FSCONFIG_SET_FLAG, "allow_other", nullptr));
  if (options.read_only) RETURN_IF_ERROR(configure(FSCONFIG_SET_FLAG, "ro", nullptr));
  RETURN_IF_ERROR(configure(FSCONFIG_CMD_CREATE, nullptr, nullptr));
  unsigned attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
  if (options.read_only) attributes |= MOUNT_ATTR_RDONLY;
  return Opened(Call(
      "fsmount", [&] { return syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC, attributes); }));
}

ErrnoOr<UniqueFd> OpenFuseControl() {
  ASSIGN_OR_RETURN(
      const UniqueFd context,
      Opened(Call("fsopen", [] { return syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC); })));
  RETURN_IF_ERROR(Done(Call("fsconfig", [&] {
    return syscall(SYS_fsconfig, context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0);
  })));
  return Opened(Call("fsmount", [&] {
    return syscall(SYS_fsmount, context.get(), FSMOUNT_CLOEXEC,
                   MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
  }));
}

ErrnoOr<uint64_t> CountUnanswered(BorrowedFd control, uint32_t device_minor) {
  const std::string path = absl::StrFormat("%d/waiting", device_minor);
  ASSIGN_OR_RETURN(const UniqueFd file, Opened(Call("openat", [&] {
                     return ::openat(control.get(), path.c_str(), O_RDONLY | O_CLOEXEC);
                   })));
  char text[24];
  const ssize_t size = Call("read", [&] { return ::read(file.get(), text, sizeof(text)); });
  if (size < 0) return Errno::Last();
  uint64_t count = 0;
  const absl::string_view digits =
      absl::StripAsciiWhitespace(absl::string_view(text, static_cast<size_t>(size)));
  if (!absl::SimpleAtoi(digits, &count)) return Errno(EBADMSG);
  return count;
}

ErrnoOr<size_t> ReadRequest(BorrowedFd device, std::span<std::byte> buffer) {
  // Not retried on EINTR: the caller is interrupted when it shall end.
  const ssize_t size = ::read(device.get(), buffer.data(), buffer.size());
  if (size < 0) return Errno::Last();
  return static_cast<size_t>(size);
}

ErrnoOr<void> WriteReply(BorrowedFd device, std::span<const std::byte> reply) {
  return Done(Call("write", [&] { return ::write(device.get(), reply.data(), reply.size()); }));
}

ErrnoOr<void> PutBackRequests(BorrowedFd device) {
  const fuse_out_header notification = {
      .len = sizeof(notification), .error = kNotifyResend, .unique = 0};
  return WriteReply(device, std::as_bytes(std::span(&notification, 1)));
}

}  // namespace gofer::sys
