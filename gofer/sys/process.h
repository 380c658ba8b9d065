// What a process is and may do: identity, privileges, limits, signals, the descriptors it was
// started with.
//
// Owner:   process state; nothing is owned unless it is returned. Threads: start-up only unless
//          said otherwise.
// Errors:  the kernel's errno.
// Source:  prctl(2), setrlimit(2), signalfd(2), close_range(2).

#ifndef GOFER_SYS_PROCESS_H_
#define GOFER_SYS_PROCESS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"

namespace gofer::sys {

// ---- descriptors handed down

// Whether the number is an open descriptor.
bool IsOpen(int fd);
ErrnoOr<void> SetCloseOnExec(BorrowedFd fd, bool on = true);
// Makes sure that 0, 1 and 2 are open, as /dev/null if need be, so that no other file gets these
// numbers.
ErrnoOr<void> OpenStandardStreams();
// Closes every descriptor but 0, 1, 2 and those in `keep` (any order, duplicates and negative ones
// are ignored).
ErrnoOr<void> CloseAllExcept(std::span<const int> keep);
// `fd` also becomes number `as` (dup3, close-on-exec except for the standard streams).
ErrnoOr<void> DuplicateAs(BorrowedFd fd, int as);

// ---- whole reads and writes, for start-up files and logs. WriteAll is safe from any thread.

// From the start of a regular file, or all that comes until end of file. EFBIG beyond `limit`
// bytes.
ErrnoOr<std::string> ReadToEnd(BorrowedFd fd, size_t limit);
ErrnoOr<void> WriteAll(BorrowedFd fd, absl::string_view bytes);
// All of the file at a path.
ErrnoOr<std::string> ReadFile(const char* path, size_t limit);
// The same path from the root directory, whatever the working directory will be. Nothing is looked
// up.
ErrnoOr<std::string> AbsolutePath(const std::string& path);
// The absolute path of what a path leads to, without a symbolic link in it.
ErrnoOr<std::string> ResolvePath(const std::string& path);
// The bytes read: 0 at end of file, else 1. Blocks.
ErrnoOr<size_t> ReadOneByte(BorrowedFd fd);

// ---- identity and privileges

// Bit n is capability n.
struct CapabilitySets {
  uint64_t effective;
  uint64_t permitted;
  uint64_t inheritable;
};
ErrnoOr<CapabilitySets> GetCapabilities();
// What an exec of the calling thread could still gain.
uint64_t GetBoundingSet();
// Of the calling thread: of what it has, nothing but `kept`, and nothing inheritable.
ErrnoOr<void> KeepCapabilities(uint64_t kept);
// By the effective user id.
bool IsRoot();
uint32_t EffectiveUid();
ErrnoOr<void> DropSupplementaryGroups();
// Real, effective and saved ids of the calling thread.
ErrnoOr<void> SetIds(uint32_t uid, uint32_t gid);
// The number of a group of this system; ENOENT if there is none of that name.
ErrnoOr<uint32_t> FindGroup(const std::string& name);
ErrnoOr<void> SetNoNewPrivileges();
// No core file, no ptrace by an equal uid, /proc/PID owned by root.
ErrnoOr<void> SetNotDumpable();
// A later uid 0 gets no capabilities from it, for good. What setresuid does to capabilities is left
// as it is.
ErrnoOr<void> LockNoRoot();
void SetUmask(uint32_t mask);

int ProcessId();
ErrnoOr<void> ChangeToRootDirectory();
// Starts this very program anew, in this process, with an empty environment. Returns only if that
// failed.
ErrnoOr<void> ExecuteSelf(std::span<const std::string> arguments);
bool IsTerminal(int fd);
// Ends the process at once: no destructors, no other thread is waited for.
[[noreturn]] void ExitNow(int status);
// A datagram socket connected to the one at a path, such as the service manager's $NOTIFY_SOCKET
// (sd_notify(3)) or syslog's; '@' begins an abstract name.
ErrnoOr<UniqueFd> ConnectDatagram(absl::string_view address);
// A system call that a seccomp filter traps is named on stderr, and the process exits with status
// 159.
ErrnoOr<void> ExitOnForbiddenCall();

// ---- limits

struct Limit {
  uint64_t soft;
  uint64_t hard;
};
// `resource` is RLIMIT_*.
ErrnoOr<Limit> GetLimit(int resource);
ErrnoOr<void> SetLimit(int resource, Limit limit);

// ---- signals

// Every signal to its default action and none blocked, whatever the parent left behind.
void ResetSignals();
ErrnoOr<void> IgnoreSignal(int signal);
// Blocks the signals in this thread and those it starts; they are read from the descriptor
// (non-blocking).
ErrnoOr<UniqueFd> SignalDescriptor(std::span<const int> signals);
// The next signal's number; EAGAIN if there is none.
ErrnoOr<int> ReadSignal(BorrowedFd signal_fd);

}  // namespace gofer::sys

#endif  // GOFER_SYS_PROCESS_H_
