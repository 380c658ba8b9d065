#include "gofer/sys/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

ErrnoOr<void> CheckOwn(const struct stat& file) {
  if (!S_ISREG(file.st_mode) || file.st_nlink > 1 || file.st_uid != ::geteuid()) {
    return Errno(EPERM);
  }
  return {};
}

}  // namespace

ErrnoOr<UniqueFd> OpenLocked(BorrowedFd dir, const Name& name, uint32_t mode) {
  for (;;) {
    UniqueFd file(Call("openat", [&] {
      return ::openat(dir.get(), name.c_str(),
                      O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
    }));
    if (!file.valid()) return Errno::Last();
    struct stat opened, named;
    if (::fstat(file.get(), &opened) != 0) return Errno::Last();
    RETURN_IF_ERROR(CheckOwn(opened));
    if (Call("flock", [&] { return ::flock(file.get(), LOCK_EX | LOCK_NB); }) != 0) {
      return Errno::Last();
    }
    // Who held it before may have removed the name, and then it is not what the next one will find.
    if (::fstatat(dir.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;
      return Errno::Last();
    }
    if (named.st_dev == opened.st_dev && named.st_ino == opened.st_ino) return file;
  }
}

}  // namespace gofer::sys
