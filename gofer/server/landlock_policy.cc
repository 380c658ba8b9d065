#include "gofer/server/landlock_policy.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "gofer/base/errno.h"
#include "gofer/sys/landlock.h"

namespace gofer::server {
namespace {

// Before ABI 2 the kernel refuses every rename and link between two directories.
constexpr int kLeastAbi = 2;
constexpr int kAbiOfTruncate = 3;
constexpr int kAbiOfTcp = 4;
constexpr int kAbiOfIoctl = 5;
constexpr int kAbiOfScopes = 6;

struct Right {
  uint64_t bit;
  absl::string_view name;
};
constexpr Right kRights[] = {
    {sys::kLandlockExecute, "EXECUTE"},      {sys::kLandlockWriteFile, "WRITE_FILE"},
    {sys::kLandlockReadFile, "READ_FILE"},   {sys::kLandlockReadDir, "READ_DIR"},
    {sys::kLandlockRemoveDir, "REMOVE_DIR"}, {sys::kLandlockRemoveFile, "REMOVE_FILE"},
    {sys::kLandlockMakeChar, "MAKE_CHAR"},   {sys::kLandlockMakeDir, "MAKE_DIR"},
    {sys::kLandlockMakeReg, "MAKE_REG"},     {sys::kLandlockMakeSock, "MAKE_SOCK"},
    {sys::kLandlockMakeFifo, "MAKE_FIFO"},   {sys::kLandlockMakeBlock, "MAKE_BLOCK"},
    {sys::kLandlockMakeSym, "MAKE_SYM"},     {sys::kLandlockRefer, "REFER"},
    {sys::kLandlockTruncate, "TRUNCATE"},    {sys::kLandlockIoctlDev, "IOCTL_DEV"},
};

uint64_t Governed(int abi) {
  uint64_t rights = (sys::kLandlockMakeSym << 1) - 1;  // all of ABI 1
  rights |= sys::kLandlockRefer;
  if (abi >= kAbiOfTruncate) rights |= sys::kLandlockTruncate;
  if (abi >= kAbiOfIoctl) rights |= sys::kLandlockIoctlDev;
  return rights;
}

// Never EXECUTE: it is for execve, which nothing here does. What a client does with a file that it
// was given, mapping it executable too, is not looked at.
uint64_t Allowed(const LandlockOptions& options) {
  uint64_t rights = sys::kLandlockReadFile | sys::kLandlockReadDir;
  if (options.open_devices) rights |= sys::kLandlockIoctlDev;
  if (options.read_only) return rights;
  rights |= sys::kLandlockWriteFile | sys::kLandlockTruncate | sys::kLandlockRemoveDir |
            sys::kLandlockRemoveFile | sys::kLandlockMakeDir | sys::kLandlockMakeReg |
            sys::kLandlockMakeSym | sys::kLandlockRefer;
  rights |= sys::kLandlockMakeChar;  // whiteouts
  if (options.make_special_files) rights |= sys::kLandlockMakeSock | sys::kLandlockMakeFifo;
  if (options.make_devices) rights |= sys::kLandlockMakeBlock;
  return rights;
}

}  // namespace

absl::StatusOr<LandlockState> LimitFilesTo(BorrowedFd root, const LandlockOptions& options) {
  LandlockState state;
  const ErrnoOr<int> abi = sys::LandlockAbi();
  state.abi = abi.ok() ? *abi : 0;
  if (!options.wanted) {
    state.why_not = "--landlock=off";
  } else if (options.file_handles) {
    state.why_not = "files are opened by handle, which have no place in a tree";
  } else if (!abi.ok()) {
    state.why_not = absl::StrCat("the kernel has none: ", abi.error().ToString());
  } else if (*abi < kLeastAbi) {
    state.why_not = absl::StrCat("the kernel's ABI ", *abi, " forbids every rename");
  }
  if (!state.why_not.empty()) return state;

  state.governed = Governed(*abi);
  state.allowed = Allowed(options) & state.governed;
  state.tcp_forbidden = *abi >= kAbiOfTcp;
  state.outside_signals_and_sockets_forbidden = *abi >= kAbiOfScopes;
  const sys::LandlockTree trees[] = {{.directory = root, .files = state.allowed}};
  const ErrnoOr<void> applied = sys::ApplyLandlock(
      {.files = state.governed,
       .network = state.tcp_forbidden ? sys::kLandlockBindTcp | sys::kLandlockConnectTcp : 0,
       .scopes = state.outside_signals_and_sockets_forbidden
                     ? sys::kLandlockScopeAbstractSockets | sys::kLandlockScopeSignals
                     : 0,
       .trees = trees});
  state.in_force = applied.ok();
  if (applied.ok()) return state;
  // As many as the kernel stacks are in force already.
  if (!(applied.error() == Errno(E2BIG))) return ToStatus(applied.error(), "Landlock");
  return LandlockState{.abi = *abi, .why_not = "the kernel stacks no more of it: E2BIG"};
}

std::vector<absl::string_view> LandlockRightNames(uint64_t files) {
  std::vector<absl::string_view> names;
  for (const Right& right : kRights) {
    if ((files & right.bit) != 0) names.push_back(right.name);
  }
  return names;
}

}  // namespace gofer::server
