#include "gofer/sys/own_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"
#include "gofer/sys/host_fs.h"

namespace gofer::sys {

using internal::Call;

ErrnoOr<UniqueFd> OpenOwnDirectory(const char* path) {
  UniqueFd fd(
      Call("open", [&] { return ::open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC); }));
  if (!fd.valid()) return Errno::Last();
  return fd;
}

ErrnoOr<UniqueFd> OpenRegular(BorrowedFd directory, const Name& name) {
  UniqueFd fd(Call("openat", [&] {
    return ::openat(directory.get(), name.c_str(),
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  }));
  if (!fd.valid()) return Errno::Last();
  ASSIGN_OR_RETURN(const Attr attr, Statx(fd));
  if (!S_ISREG(attr.stx_mode)) return Errno(EINVAL);
  return fd;
}

ErrnoOr<std::vector<std::string>> ListNames(BorrowedFd directory) {
  // A description of our own: the position of the caller's stays what it is.
  UniqueFd listing(Call("openat", [&] {
    return ::openat(directory.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }));
  if (!listing.valid()) return Errno::Last();
  std::vector<std::string> names;
  alignas(struct dirent64) std::array<std::byte, 4096> buffer;
  for (;;) {
    ASSIGN_OR_RETURN(const size_t got, GetDents(listing, buffer));
    if (got == 0) return names;
    for (size_t at = 0; at < got;) {
      const auto* const entry = reinterpret_cast<const struct dirent64*>(buffer.data() + at);
      at += entry->d_reclen;
      if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
        names.emplace_back(entry->d_name);
      }
    }
  }
}

}  // namespace gofer::sys
