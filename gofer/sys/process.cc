#include "gofer/sys/process.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <grp.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "gofer/base/status_macros.h"
#include "gofer/sys/call.h"

namespace gofer::sys {
namespace {

using internal::Call;

ErrnoOr<void> Done(int64_t result) {
  if (result < 0) return Errno::Last();
  return {};
}

ErrnoOr<void> CloseRange(unsigned first, unsigned last) {
  if (first > last) return {};
  return Done(Call("close_range", [&] { return syscall(SYS_close_range, first, last, 0); }));
}

// In a signal handler: nothing but write and _exit.
void ReportForbiddenCall(int, siginfo_t* info, void*) {
  char text[] = "seccomp: system call      is not allowed\n";
  char* digit = text + 24;
  for (int number = info->si_syscall, i = 0; i < 4; ++i, number /= 10) {
    if (number != 0 || i == 0) *digit = static_cast<char>('0' + number % 10);
    --digit;
  }
  [[maybe_unused]] const ssize_t put = ::write(2, text, sizeof(text) - 1);
  ::_exit(128 + SIGSYS);
}

}  // namespace

bool IsOpen(int fd) { return fd >= 0 && ::fcntl(fd, F_GETFD) >= 0; }

ErrnoOr<void> SetCloseOnExec(BorrowedFd fd, bool on) {
  return Done(Call("fcntl", [&] { return ::fcntl(fd.get(), F_SETFD, on ? FD_CLOEXEC : 0); }));
}

ErrnoOr<void> OpenStandardStreams() {
  for (int fd = 0; fd <= 2; ++fd) {
    if (IsOpen(fd)) continue;
    // The lowest free number is this one: those below are open.
    const int opened = Call("open", [] { return ::open("/dev/null", O_RDWR); });
    if (opened < 0) return Errno::Last();
  }
  return {};
}

ErrnoOr<void> CloseAllExcept(std::span<const int> keep) {
  std::vector<int> sorted(keep.begin(), keep.end());
  std::sort(sorted.begin(), sorted.end());
  unsigned next = 3;
  for (const int fd : sorted) {
    if (fd < static_cast<int>(next)) continue;
    RETURN_IF_ERROR(CloseRange(next, static_cast<unsigned>(fd) - 1));
    next = static_cast<unsigned>(fd) + 1;
  }
  return CloseRange(next, ~0u);
}

ErrnoOr<void> DuplicateAs(BorrowedFd fd, int as) {
  if (fd.get() == as) return {};
  return Done(Call("dup3", [&] { return ::dup3(fd.get(), as, as <= 2 ? 0 : O_CLOEXEC); }));
}

ErrnoOr<std::string> ReadToEnd(BorrowedFd fd, size_t limit) {
  constexpr size_t kReadPiece = 16384;
  // Where a file says how large it is, nothing of one that is too large is read, and memory is had
  // once. Files of /proc do not say.
  std::string bytes;
  if (const off_t end = ::lseek(fd.get(), 0, SEEK_END); end > 0) {
    if (static_cast<uint64_t>(end) > limit) return Errno(EFBIG);
    bytes.reserve(static_cast<size_t>(end) + kReadPiece);
  }
  // Whoever had the descriptor before may have read from it. A pipe has no position, which is as
  // good.
  if (::lseek(fd.get(), 0, SEEK_SET) < 0 && errno != ESPIPE) return Errno::Last();
  size_t used = 0;
  for (;;) {
    if (used > limit) return Errno(EFBIG);
    bytes.resize(used + kReadPiece);
    const ssize_t got =
        Call("read", [&] { return ::read(fd.get(), bytes.data() + used, bytes.size() - used); });
    if (got < 0) return Errno::Last();
    if (got == 0) break;
    used += static_cast<size_t>(got);
  }
  bytes.resize(used);
  return bytes;
}

ErrnoOr<std::string> ReadFile(const char* path, size_t limit) {
  const UniqueFd file(Call("open", [&] { return ::open(path, O_RDONLY | O_CLOEXEC); }));
  if (!file.valid()) return Errno::Last();
  return ReadToEnd(file, limit);
}

ErrnoOr<std::string> AbsolutePath(const std::string& path) {
  if (!path.empty() && path[0] == '/') return path;
  const std::unique_ptr<char, decltype(&std::free)> directory(::getcwd(nullptr, 0), &std::free);
  if (directory == nullptr) return Errno::Last();
  return std::string(directory.get()) + "/" + path;
}

ErrnoOr<std::string> ResolvePath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> resolved(::realpath(path.c_str(), nullptr),
                                                             &std::free);
  if (resolved == nullptr) return Errno::Last();
  return std::string(resolved.get());
}

ErrnoOr<void> WriteAll(BorrowedFd fd, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put =
        Call("write", [&] { return ::write(fd.get(), bytes.data(), bytes.size()); });
    if (put < 0) return Errno::Last();
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

ErrnoOr<size_t> ReadOneByte(BorrowedFd fd) {
  char byte;
  const ssize_t got = Call("read", [&] { return ::read(fd.get(), &byte, 1); });
  if (got < 0) return Errno::Last();
  return static_cast<size_t>(got);
}

ErrnoOr<CapabilitySets> GetCapabilities() {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  RETURN_IF_ERROR(Done(Call("capget", [&] { return syscall(SYS_capget, &header, data); })));
  const auto join = [](uint32_t low, uint32_t high) { return uint64_t{high} << 32 | low; };
  return CapabilitySets{.effective = join(data[0].effective, data[1].effective),
                        .permitted = join(data[0].permitted, data[1].permitted),
                        .inheritable = join(data[0].inheritable, data[1].inheritable)};
}

ErrnoOr<void> KeepCapabilities(uint64_t kept) {
  ASSIGN_OR_RETURN(const CapabilitySets held, GetCapabilities());
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  for (int half = 0; half < 2; ++half) {
    data[half].effective = static_cast<uint32_t>((held.effective & kept) >> (32 * half));
    data[half].permitted = static_cast<uint32_t>((held.permitted & kept) >> (32 * half));
  }
  return Done(Call("capset", [&] { return syscall(SYS_capset, &header, data); }));
}

uint64_t GetBoundingSet() {
  uint64_t bounding = 0;
  for (int capability = 0; capability < 64; ++capability) {
    if (::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) bounding |= uint64_t{1} << capability;
  }
  return bounding;
}

bool IsRoot() { return ::geteuid() == 0; }

uint32_t EffectiveUid() { return geteuid(); }

ErrnoOr<void> DropSupplementaryGroups() {
  return Done(Call("setgroups", [] { return ::setgroups(0, nullptr); }));
}

ErrnoOr<void> SetIds(uint32_t uid, uint32_t gid) {
  // The group first: afterwards the right to change it is gone.
  RETURN_IF_ERROR(Done(Call("setresgid", [&] { return syscall(SYS_setresgid, gid, gid, gid); })));
  return Done(Call("setresuid", [&] { return syscall(SYS_setresuid, uid, uid, uid); }));
}

ErrnoOr<uint32_t> FindGroup(const std::string& name) {
  struct group entry;
  struct group* found = nullptr;
  // A group's members are in the buffer too: it grows until they fit.
  for (std::vector<char> buffer(1024);; buffer.resize(buffer.size() * 2)) {
    const int error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < 1 << 24) continue;
    if (found != nullptr) return entry.gr_gid;
    return Errno(error == 0 ? ENOENT : error);
  }
}

ErrnoOr<void> SetNoNewPrivileges() {
  return Done(Call("prctl", [] { return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }));
}

ErrnoOr<void> SetNotDumpable() {
  return Done(Call("prctl", [] { return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }));
}

ErrnoOr<void> LockNoRoot() {
  constexpr unsigned long kBits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_KEEP_CAPS_LOCKED |
                                  SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
  return Done(Call("prctl", [] { return ::prctl(PR_SET_SECUREBITS, kBits, 0, 0, 0); }));
}

int ProcessId() { return ::getpid(); }

ErrnoOr<void> ChangeToRootDirectory() {
  return Done(Call("chdir", [] { return ::chdir("/"); }));
}

ErrnoOr<void> ExecuteSelf(std::span<const std::string> arguments) {
  std::vector<char*> pointers;
  for (const std::string& argument : arguments)
    pointers.push_back(const_cast<char*>(argument.c_str()));
  pointers.push_back(nullptr);
  char* const environment[] = {nullptr};
  return Done(
      Call("execve", [&] { return ::execve("/proc/self/exe", pointers.data(), environment); }));
}

bool IsTerminal(int fd) { return isatty(fd) == 1; }

void ExitNow(int status) { ::_exit(status); }

ErrnoOr<UniqueFd> ConnectDatagram(absl::string_view address) {
  struct sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  if (address.size() < 2 || address.size() >= sizeof(name.sun_path)) return Errno(EINVAL);
  std::memcpy(name.sun_path, address.data(), address.size());
  if (name.sun_path[0] == '@') name.sun_path[0] = '\0';
  UniqueFd socket(Call("socket", [] { return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); }));
  if (!socket.valid()) return Errno::Last();
  // An abstract name ends where the length says, not at a NUL.
  const auto length =
      static_cast<socklen_t>(offsetof(struct sockaddr_un, sun_path) + address.size());
  RETURN_IF_ERROR(Done(Call("connect", [&] {
    return ::connect(socket.get(), reinterpret_cast<const struct sockaddr*>(&name), length);
  })));
  return socket;
}

ErrnoOr<void> ExitOnForbiddenCall() {
  struct sigaction action = {};
  action.sa_sigaction = ReportForbiddenCall;
  action.sa_flags = SA_SIGINFO;
  return Done(::sigaction(SIGSYS, &action, nullptr));
}

void SetUmask(uint32_t mask) { ::umask(static_cast<mode_t>(mask)); }

ErrnoOr<Limit> GetLimit(int resource) {
  struct rlimit limit;
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) return Errno::Last();
  return Limit{.soft = limit.rlim_cur, .hard = limit.rlim_max};
}

ErrnoOr<void> SetLimit(int resource, Limit limit) {
  const struct rlimit value = {.rlim_cur = limit.soft, .rlim_max = limit.hard};
  return Done(Call("setrlimit", [&] {
    return ::setrlimit(static_cast<__rlimit_resource_t>(resource), &value);
  }));
}

void ResetSignals() {
  for (int signal = 1; signal < NSIG; ++signal) {
    ::signal(signal,
             SIG_DFL);  // fails for SIGKILL, SIGSTOP and libc's own, which is as it should be
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

ErrnoOr<void> IgnoreSignal(int signal) {
  if (::signal(signal, SIG_IGN) == SIG_ERR) return Errno::Last();
  return {};
}

ErrnoOr<UniqueFd> SignalDescriptor(std::span<const int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  RETURN_IF_ERROR(Done(::sigprocmask(SIG_BLOCK, &set, nullptr)));
  const int fd = Call("signalfd", [&] { return ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK); });
  if (fd < 0) return Errno::Last();
  return UniqueFd(fd);
}

ErrnoOr<int> ReadSignal(BorrowedFd signal_fd) {
  struct signalfd_siginfo info;
  const ssize_t got = Call("read", [&] { return ::read(signal_fd.get(), &info, sizeof(info)); });
  if (got < 0) return Errno::Last();
  return static_cast<int>(info.ssi_signo);
}

}  // namespace gofer::sys
