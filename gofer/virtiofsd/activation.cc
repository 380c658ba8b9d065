#include "gofer/virtiofsd/activation.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace gofer::virtiofsd {
namespace {

constexpr int kFirst = 3;

}  // namespace

absl::StatusOr<std::optional<int>> ActivationSocket(const char* listen_pid, const char* listen_fds,
                                                    int own_pid) {
  int pid = 0, count = 0;
  if (listen_pid == nullptr || listen_fds == nullptr || !absl::SimpleAtoi(listen_pid, &pid) ||
      pid != own_pid) {
    return std::nullopt;
  }
  if (!absl::SimpleAtoi(listen_fds, &count) || count < 1) return std::nullopt;
  if (count == 1) return kFirst;
  return absl::InvalidArgumentError(
      absl::StrCat("LISTEN_FDS=", count, ": one socket is served; name it with --fd"));
}

}  // namespace gofer::virtiofsd
