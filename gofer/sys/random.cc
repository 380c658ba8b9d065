#include "gofer/sys/random.h"

#include <sys/random.h>

#include "gofer/sys/call.h"

namespace gofer::sys {

ErrnoOr<void> FillRandom(std::span<std::byte> to) {
  const ssize_t got =
      internal::Call("getrandom", [&] { return ::getrandom(to.data(), to.size(), 0); });
  if (got < 0) return Errno::Last();
  if (static_cast<size_t>(got) != to.size()) return Errno(EINVAL);
  return {};
}

}  // namespace gofer::sys
