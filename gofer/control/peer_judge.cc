#include "gofer/control/peer_judge.h"

#include <sys/uio.h>

#include <cstddef>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/helper_process.h"
#include "gofer/sys/process.h"
#include "gofer/sys/socket.h"

namespace gofer::control {
namespace {

constexpr uint32_t kRoot = 0;
// Nobody's uid, see setreuid(2): what the helper says of a socket that it cannot judge.
constexpr int32_t kUnknown = -1;

void Judge(BorrowedFd gofer) {
  if (!sys::KeepCapabilities(0).ok() || !sys::SetNoNewPrivileges().ok()) return;
  for (;;) {
    std::byte question;
    UniqueFd socket;
    const ErrnoOr<sys::Received> received =
        sys::ReceiveWithFds(gofer, std::span(&question, 1), std::span(&socket, 1));
    if (!received.ok() || received->bytes == 0) return;
    const ErrnoOr<uint32_t> uid = sys::PeerUid(socket);
    if (!sys::SendNumber(gofer, uid.ok() ? static_cast<int32_t>(*uid) : kUnknown).ok()) return;
  }
}

}  // namespace

absl::Status PeerJudge::StayOutside() {
  ErrnoOr<UniqueFd> helper = sys::StartHelper("gofer-judge", {}, &Judge);
  if (!helper.ok()) {
    return ToStatus(helper.error(), "--control_socket: start the process that stays outside");
  }
  const absl::MutexLock lock(&mu_);
  helper_ = *std::move(helper);
  return absl::OkStatus();
}

ErrnoOr<uint32_t> PeerJudge::UidOf(BorrowedFd socket) {
  const absl::MutexLock lock(&mu_);
  if (!helper_.valid()) return sys::PeerUid(socket);
  char question = '?';
  struct iovec part = {.iov_base = &question, .iov_len = 1};
  RETURN_IF_ERROR(sys::SendAll(helper_, {&part, 1}, {&socket, 1}));
  ASSIGN_OR_RETURN(const std::optional<int32_t> answer, sys::ReceiveNumber(helper_));
  if (!answer.has_value()) return Errno(ESRCH);
  if (*answer == kUnknown) return Errno(EINVAL);
  return static_cast<uint32_t>(*answer);
}

absl::Status PeerJudge::MayCommand(BorrowedFd socket) {
  const ErrnoOr<uint32_t> uid = UidOf(socket);
  if (uid.ok() && (*uid == owner_ || *uid == kRoot)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("control socket: only uid ", owner_, " and root may command, you are ",
                   uid.ok() ? absl::StrCat("uid ", *uid) : uid.error().ToString()));
}

}  // namespace gofer::control
