#include "gofer/server/seccomp_rules.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452  // Linux 6.6; the same number on every architecture
#endif
#ifndef SYS_setxattrat
#define SYS_setxattrat 463  // Linux 6.13; the same numbers on every architecture
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

namespace gofer::server {
namespace {

using enum RuleSet;

// The low 32 bits are this value: arguments of type int, whatever the upper half holds.
constexpr Condition Int(uint8_t argument, uint32_t value) { return {argument, 0xffffffff, value}; }
// All 64 bits.
constexpr Condition Long(uint8_t argument, uint64_t value) {
  return {argument, ~uint64_t{0}, value};
}
// None of these bits.
constexpr Condition Without(uint8_t argument, uint32_t bits) { return {argument, bits, 0}; }
// A descriptor, so neither AT_FDCWD nor anything else negative: no path is ever taken from the
// working directory.
constexpr Condition Directory(uint8_t argument) { return {argument, kDescriptorMask, 0}; }
constexpr Condition FutexCommand(uint32_t command) {
  return {1, ~static_cast<uint32_t>(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), command};
}

// What the C library passes to start a thread, and nothing that makes a process or a namespace.
constexpr uint32_t kThreadFlags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SYSVSEM |
                                  CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS |
                                  CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;

#define CALL(name) #name, SYS_##name

constexpr SeccompRule kRules[] = {
    // Finding files and reading what they are.
    {CALL(openat2), kServe, {Directory(0)}, "look up one name"},
    {CALL(openat),
     kServe,
     {Directory(0)},
     "create a file; reopen one through the directory of descriptors"},
    {CALL(statx), kServe, {Directory(0)}, "attributes"},
    {CALL(fstatfs), kServe, {}, "FStatFS; the page size of guest memory"},
    {CALL(readlinkat), kServe, {Directory(0)}, "ReadLinkAt"},
    {CALL(getdents64), kServe, {}, "Getdents64"},
    {CALL(lseek), kServe, {}, "start a listing again"},
    {CALL(close), kServe, {}, "descriptors end"},

    // File data.
    {CALL(pread64), kServe, {}, "PRead"},
    {CALL(pwrite64), kServe, {}, "PWrite"},
    {CALL(fsync), kServe, {}, "FSync"},
    {CALL(ftruncate), kServe, {}, "SetStat size; the size of a channel's memory"},
    {CALL(fallocate), kServe, {}, "FAllocate"},

    // Attributes.
    {CALL(fchmod),
     kServe,
     {},
     "SetStat mode of an open file; the mode of a socket before it is bound"},
    {CALL(fchmodat), kServe, {Directory(0)}, "SetStat mode where the kernel has no fchmodat2"},
    {"fchmodat2", SYS_fchmodat2, kServe, {Directory(0)}, "SetStat mode"},
    {CALL(fchownat), kServe, {Directory(0)}, "SetStat owner"},
    {CALL(utimensat), kServe, {Directory(0)}, "SetStat times"},
    {CALL(fgetxattr), kServe, {}, "FGetXattr"},
    {CALL(fsetxattr), kServe, {}, "FSetXattr"},
    {CALL(flistxattr), kServe, {}, "FListXattr"},
    {CALL(fremovexattr), kServe, {}, "FRemoveXattr"},

    // Names.
    {CALL(mkdirat), kServe, {Directory(0)}, "MkdirAt"},
    {CALL(mknodat),
     kServe,
     {Directory(0), Int(3, 0)},
     "MknodAt: files and whiteouts, no device has number 0:0"},
    {CALL(symlinkat), kServe, {Directory(1)}, "SymlinkAt"},
    {CALL(linkat), kServe, {Directory(0), Directory(2)}, "LinkAt"},
    {CALL(unlinkat), kServe, {Directory(0)}, "UnlinkAt"},
#ifdef SYS_renameat
    {CALL(renameat),
     kServe,
     {Directory(0), Directory(2)},
     "RenameAt: what the C library makes of renameat2 without flags"},
#endif
    {CALL(renameat2), kServe, {Directory(0), Directory(2)}, "RenameAt, RenameAt2"},

    // The peer.
    {CALL(recvfrom), kServe, {}, "requests over the socket"},
    {CALL(recvmsg), kServe, {}, "a channel's descriptor socket"},
    {CALL(sendmsg), kServe, {}, "replies with descriptors"},
    {CALL(getsockopt),
     kServe,
     {Int(1, SOL_SOCKET), Int(2, SO_TYPE)},
     "is a new client's socket a stream"},
    {CALL(getpeername), kServe, {}, "is a new client's socket connected"},
    {CALL(shutdown), kServe, {}, "end a connection"},
    {CALL(socketpair),
     kServe,
     {Int(0, AF_UNIX), Int(1, SOCK_SEQPACKET | SOCK_CLOEXEC), Int(2, 0)},
     "a channel's descriptor socket"},
    {CALL(memfd_create), kServe, {}, "a channel's packet window"},
    {CALL(fcntl), kServe, {Int(1, F_ADD_SEALS)}, "the packet window keeps its size"},
    {CALL(fcntl), kServe, {Int(1, F_GETFL)}, "donated descriptors do not block"},
    {CALL(fcntl), kServe, {Int(1, F_SETFL)}, "donated descriptors do not block"},
    {CALL(fcntl), kServe, {Int(1, F_GETFD)}, "the C library looks whether a descriptor is open"},
    {CALL(fcntl), kServe, {Int(1, F_DUPFD_CLOEXEC)}, "a descriptor for one more holder"},
    {CALL(ppoll), kServe, {}, "wait for signals and connections"},
#ifdef SYS_poll
    {CALL(poll), kServe, {}, "wait for signals and connections"},
#endif
    {CALL(read), kServe, {}, "signals and events"},
    {CALL(write), kServe, {}, "the log; events"},
    {CALL(writev), kServe, {}, "the C library's last words"},
    {CALL(eventfd2), kServe, {}, "wake a thread"},

    // Threads and memory.
    {CALL(futex), kServe, {FutexCommand(FUTEX_WAIT)}, "channels; locks"},
    {CALL(futex), kServe, {FutexCommand(FUTEX_WAKE)}, "channels; locks"},
    {CALL(futex), kServe, {FutexCommand(FUTEX_WAIT_BITSET)}, "locks; join"},
    {CALL(clone), kServe, {Int(0, kThreadFlags)}, "a thread for a channel"},
    {CALL(set_robust_list), kServe, {}, "start of a thread"},
    {CALL(rseq), kServe, {}, "start and end of a thread"},
    {CALL(sched_getaffinity), kServe, {}, "the allocator's number of arenas"},
    {CALL(sched_getparam), kServe, {}, "absl::Mutex: those who wait are ordered by priority"},
    {CALL(sched_getscheduler), kServe, {}, "absl::Mutex: those who wait are ordered by priority"},
    {CALL(sched_yield), kServe, {}, "absl::Mutex before it sleeps"},
    {CALL(getcpu), kServe, {}, "per-CPU counters"},
    {CALL(mmap), kServe, {Without(2, PROT_EXEC)}, "packet windows, guest memory, stacks, heap"},
    {CALL(mprotect), kServe, {Without(2, PROT_EXEC)}, "guard pages, heap"},
    {CALL(munmap), kServe, {}, "packet windows, stacks, heap"},
    {CALL(mremap), kServe, {}, "large allocations grow"},
    {CALL(madvise), kServe, {}, "give back memory"},
    {CALL(brk), kServe, {}, "heap"},
    {CALL(exit), kServe, {}, "end of a thread"},
    {CALL(exit_group), kServe, {}, "end of the process"},

    // Clock, identity, signals.
    {CALL(clock_gettime), kServe, {}, "latencies, log, where the vDSO cannot answer"},
    {CALL(clock_nanosleep), kServe, {}, "back off"},
    {CALL(getpid), kServe, {}, "log; abort"},
    {CALL(gettid), kServe, {}, "log; abort"},
    {CALL(geteuid), kServe, {}, "whose new files are before they get an owner"},
    {CALL(getegid), kServe, {}, "whose new files are before they get an owner"},
    {CALL(getrandom), kServe, {}, "hash seeds"},
    {CALL(prctl), kServe, {Int(0, PR_SET_NAME)}, "names of threads"},
    {CALL(rt_sigaction), kServe, {}, "abort; a peer cuts memory that it shares"},
    {CALL(rt_sigprocmask), kServe, {}, "start of a thread; abort"},
    {CALL(rt_sigreturn), kServe, {}, "end of a signal handler"},
    {CALL(sigaltstack), kServe, {}, "end of a thread"},
    {CALL(restart_syscall), kServe, {}, "a call goes on after a stop"},

    {CALL(accept4), kListen, {}, "a new client"},
    {CALL(setsockopt),
     kListen,
     {Int(1, SOL_SOCKET), Int(2, SO_RCVTIMEO)},
     "accept4 waits for nobody"},

    {CALL(socket), kHostSocketsOpen, {Int(0, AF_UNIX), Int(2, 0)}, "Connect"},
    {CALL(connect), kHostSocketsOpen, {}, "Connect"},
    {CALL(unshare), kHostSocketsOpen, {Long(0, CLONE_FS)}, "a thread's own working directory"},
    {CALL(fchdir), kHostSocketsOpen, {}, "name a socket relative to the directory of descriptors"},
    {CALL(setresuid),
     kHostSocketsOpen,
     {Int(0, ~0u), Int(2, ~0u)},
     "ConnectWithCreds: effective id only"},
    {CALL(setresgid),
     kHostSocketsOpen,
     {Int(0, ~0u), Int(2, ~0u)},
     "ConnectWithCreds: effective id only"},

    {CALL(socket), kHostSocketsMake, {Int(0, AF_UNIX), Int(2, 0)}, "BindAt"},
    {CALL(bind), kHostSocketsMake, {}, "BindAt"},
    {CALL(unshare), kHostSocketsMake, {Long(0, CLONE_FS)}, "a thread's own working directory"},
    {CALL(fchdir), kHostSocketsMake, {}, "name a socket relative to its directory"},
    {CALL(listen), kHostSocketsMake, {}, "Listen"},
    {CALL(accept4), kHostSocketsMake, {}, "Accept"},
    {CALL(setsockopt),
     kHostSocketsMake,
     {Int(1, SOL_SOCKET), Int(2, SO_RCVTIMEO)},
     "Accept waits for nobody"},

    {CALL(pipe2), kHostFifos, {}, "a save copies what is in a FIFO"},
    {CALL(tee), kHostFifos, {}, "a save copies what is in a FIFO"},
    {CALL(fcntl), kHostFifos, {Int(1, F_GETPIPE_SZ)}, "a copy of a FIFO is as large"},
    {CALL(fcntl), kHostFifos, {Int(1, F_SETPIPE_SZ)}, "a copy of a FIFO is as large"},

    {CALL(preadv2), kFuse, {}, "READ"},
    {CALL(pwritev2), kFuse, {}, "WRITE"},
    {CALL(copy_file_range), kFuse, {}, "COPY_FILE_RANGE"},
    {CALL(fdatasync), kFuse, {}, "FSYNC of data only"},
    {CALL(syncfs), kFuse, {}, "SYNCFS"},
    {CALL(fcntl), kFuse, {Int(1, F_OFD_GETLK)}, "GETLK"},
    {CALL(fcntl), kFuse, {Int(1, F_OFD_SETLK)}, "SETLK"},
    {CALL(flock), kFuse, {}, "SETLK of a whole file"},
    {CALL(ioctl), kFuse, {Int(1, FS_IOC_GETFLAGS)}, "IOCTL: lsattr"},
    {CALL(ioctl), kFuse, {Int(1, FS_IOC_SETFLAGS)}, "IOCTL: chattr"},
    {CALL(ioctl), kFuse, {Int(1, FS_IOC_GETVERSION)}, "IOCTL: lsattr -v"},
    {CALL(ioctl), kFuse, {Int(1, FS_IOC_FSGETXATTR)}, "IOCTL: project ids"},
    {CALL(ioctl), kFuse, {Int(1, FS_IOC_FSSETXATTR)}, "IOCTL: project ids"},
    {"getxattrat", SYS_getxattrat, kFuse, {Directory(0)}, "GETXATTR; default ACLs"},
    {"setxattrat", SYS_setxattrat, kFuse, {Directory(0)}, "SETXATTR"},
    {"listxattrat", SYS_listxattrat, kFuse, {Directory(0)}, "LISTXATTR"},
    {"removexattrat", SYS_removexattrat, kFuse, {Directory(0)}, "REMOVEXATTR"},
    {CALL(unshare), kFuse, {Long(0, CLONE_FS)}, "a thread's own working directory and umask"},
    {CALL(fchdir), kFuse, {}, "the directory of descriptors, where there is no getxattrat"},
    {CALL(getxattr), kFuse, {}, "GETXATTR where there is no getxattrat"},
    {CALL(setxattr), kFuse, {}, "SETXATTR where there is no setxattrat"},
    {CALL(listxattr), kFuse, {}, "LISTXATTR where there is no listxattrat"},
    {CALL(removexattr), kFuse, {}, "REMOVEXATTR where there is no removexattrat"},

    {CALL(setresuid), kFuseIdentity, {Int(0, ~0u), Int(2, ~0u)}, "make a file: effective id only"},
    {CALL(setresgid), kFuseIdentity, {Int(0, ~0u), Int(2, ~0u)}, "make a file: effective id only"},
    {CALL(setgroups), kFuseIdentity, {}, "make a file: the one group that counts, and none again"},
    {CALL(umask), kFuseIdentity, {}, "make a file: the client's umask"},

    // Whatever INIT has agreed on: Linux leaves the bits to us with every write past its page
    // cache.
    {CALL(capget), kFuse, {}, "a write without CAP_FSETID takes set-id bits away"},
    {CALL(capset), kFuse, {}, "a write without CAP_FSETID takes set-id bits away"},

    {CALL(mknodat), kFuseDevices, {Directory(0)}, "MKNOD"},

    {CALL(getsockopt), kControl, {Int(1, SOL_SOCKET), Int(2, SO_PEERCRED)}, "who gives commands"},
    {CALL(syncfs), kControl, {}, "a save of many files that are open for writing"},

    {CALL(epoll_create1), kVhostUser, {}, "wait for a ring's kicks"},
    {CALL(epoll_ctl), kVhostUser, {}, "wait for a ring's kicks"},
#ifdef SYS_epoll_wait
    {CALL(epoll_wait), kVhostUser, {}, "wait for a ring's kicks"},
#endif
    {CALL(epoll_pwait), kVhostUser, {}, "wait for a ring's kicks"},

    {CALL(name_to_handle_at), kFileHandles, {Directory(0)}, "which file an inode number is now"},
    {CALL(open_by_handle_at), kFileHandles, {}, "open a file whose name is not known any more"},
};

#undef CALL

}  // namespace

std::span<const SeccompRule> SeccompRules() { return kRules; }

}  // namespace gofer::server
