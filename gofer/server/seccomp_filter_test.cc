#include "gofer/server/seccomp_filter.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gofer/server/seccomp_rules.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"

namespace gofer::server {
namespace {

// Nothing may be done between the filter and the exit that is not part of the test: no gtest, no
// exit handlers.
enum Outcome { kAllowed = 40, kKilled, kTrapped, kNoFilter };

Outcome Under(SeccompOptions options, const std::function<void()>& call) {
  const testing::ChildEnd end = testing::InChild([&] {
    if (!InstallSeccompFilter(options).ok()) _exit(kNoFilter);
    call();
    syscall(SYS_exit_group, kAllowed);
  });
  if (end.signal == SIGSYS) return kKilled;
  if (end.status == 159) return kTrapped;
  return static_cast<Outcome>(end.status);
}

Outcome Call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  return Under({.mode = SeccompMode::kKill}, [=] { syscall(number, a, b, c, d, e); });
}

TEST(SeccompFilter, CallsOutsideTheTableKill) {
  std::set<long> known = {SYS_clone3, SYS_tgkill};
#ifdef __x86_64__
  known.insert(
      {335, 336});  // uretprobe, uprobe: trampolines of the kernel's own, which no filter sees
#endif
  for (const SeccompRule& rule : SeccompRules()) {
    if (rule.set == RuleSet::kServe) known.insert(rule.number);
  }
  for (long number = 0; number <= 460; ++number) {
    if (known.count(number) > 0) continue;
    EXPECT_EQ(Call(number), kKilled) << "system call " << number;
  }
}

TEST(SeccompFilter, NumbersOfAnotherAbiKill) {
  constexpr long kX32 = 0x40000000;
  EXPECT_EQ(Call(kX32 + SYS_getpid), kKilled);
}

TEST(SeccompFilter, EveryRuleHasAReason) {
  for (const SeccompRule& rule : SeccompRules())
    EXPECT_GT(std::string(rule.reason).size(), 3u) << rule.name;
}

TEST(SeccompFilter, FilesOnlyByDescriptor) {
  EXPECT_EQ(Call(SYS_statx, 3, 0, 0, 0, 0), kAllowed);
  for (const long number : {SYS_statx, SYS_openat2, SYS_readlinkat, SYS_mkdirat, SYS_unlinkat,
                            SYS_fchownat, SYS_utimensat, SYS_fchmodat, SYS_mknodat}) {
    EXPECT_EQ(Call(number, AT_FDCWD), kKilled) << "system call " << number;
    EXPECT_EQ(Call(number, -1), kKilled) << "system call " << number;
  }
  EXPECT_EQ(Call(SYS_symlinkat, 0, AT_FDCWD, 0), kKilled);
  EXPECT_EQ(Call(SYS_linkat, 3, 0, AT_FDCWD, 0), kKilled);
  EXPECT_EQ(Call(SYS_renameat2, 3, 0, AT_FDCWD, 0), kKilled);
  EXPECT_EQ(Call(SYS_renameat2, 3, 0, 3, 0), kAllowed);
}

TEST(SeccompFilter, LibrariesFindNoFileByPath) {
  EXPECT_EQ(Under({.mode = SeccompMode::kKill},
                  [] {
                    if (open("/proc/self/status", O_RDONLY) >= 0 || errno != ENOENT) _exit(1);
                  }),
            kAllowed);
  EXPECT_EQ(Call(SYS_openat, -1), kKilled);
}

TEST(SeccompFilter, Arguments) {
  EXPECT_EQ(Call(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1),
            kAllowed);
  EXPECT_EQ(Call(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
            kKilled);
  EXPECT_EQ(Call(SYS_mprotect, 0, 0, PROT_EXEC), kKilled);
  EXPECT_EQ(Call(SYS_mknodat, 3, 0, S_IFCHR, 0), kAllowed) << "a whiteout";
  EXPECT_EQ(Call(SYS_mknodat, 3, 0, S_IFCHR, 0x103), kKilled) << "/dev/null's number";
  EXPECT_EQ(Call(SYS_fcntl, 0, F_GETFL), kAllowed);
  EXPECT_EQ(Call(SYS_fcntl, 0, F_SETOWN, 1), kKilled);
  EXPECT_EQ(Call(SYS_prctl, PR_SET_NAME, reinterpret_cast<long>("x")), kAllowed);
  EXPECT_EQ(Call(SYS_prctl, PR_SET_DUMPABLE, 1), kKilled);
  EXPECT_EQ(Call(SYS_clone, SIGCHLD), kKilled) << "fork";
  EXPECT_EQ(Call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD), kKilled) << "vfork";
  EXPECT_EQ(Call(SYS_tgkill, 1, 1, 0), kKilled) << "another process";
  EXPECT_EQ(Call(SYS_futex, 0, FUTEX_LOCK_PI), kKilled);
  EXPECT_EQ(Call(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 0), kKilled);
}

TEST(SeccompFilter, ThreadsStartAndAreConfinedToo) {
  EXPECT_EQ(Under({.mode = SeccompMode::kKill},
                  [] {
                    pthread_t thread;
                    const auto body = [](void*) -> void* { return nullptr; };
                    if (pthread_create(&thread, nullptr, body, nullptr) != 0) _exit(1);
                    pthread_join(thread, nullptr);
                  }),
            kAllowed);
  EXPECT_EQ(Under({.mode = SeccompMode::kKill},
                  [] {
                    pthread_t thread;
                    const auto body = [](void*) -> void* {
                      syscall(SYS_getppid);
                      return nullptr;
                    };
                    pthread_create(&thread, nullptr, body, nullptr);
                    pthread_join(thread, nullptr);
                  }),
            kKilled);
}

TEST(SeccompFilter, AbortIsPossible) {
  const testing::ChildEnd end = testing::InChild([] {
    if (InstallSeccompFilter({.mode = SeccompMode::kKill}).ok()) abort();
  });
  EXPECT_EQ(end.signal, SIGABRT);
}

TEST(SeccompFilter, HostSocketsOnlyWherePolicyHasThem) {
  const auto call = [](SeccompOptions options, long number, long a, long b, long c) {
    options.mode = SeccompMode::kKill;
    return Under(options, [=] { syscall(number, a, b, c); });
  };
  EXPECT_EQ(call({}, SYS_socket, AF_UNIX, SOCK_STREAM, 0), kKilled);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_socket, AF_UNIX, SOCK_STREAM, 0), kAllowed);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_socket, AF_INET, SOCK_STREAM, 0), kKilled);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_connect, -1, 0, 0), kAllowed);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_bind, -1, 0, 0), kKilled);
  EXPECT_EQ(call({.host_sockets_make = true}, SYS_bind, -1, 0, 0), kAllowed);
  EXPECT_EQ(call({.host_sockets_make = true}, SYS_connect, -1, 0, 0), kKilled);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_setresuid, -1, getuid(), -1), kAllowed);
  EXPECT_EQ(call({.host_sockets_open = true}, SYS_setresuid, 0, 0, 0), kKilled) << "not for good";
  for (const SeccompOptions options :
       {SeccompOptions{.host_sockets_open = true}, SeccompOptions{.host_sockets_make = true}}) {
    EXPECT_EQ(call(options, SYS_unshare, CLONE_FS, 0, 0), kAllowed);
    for (const long more : {0L, long{CLONE_NEWNS}, long{CLONE_NEWUSER}, long{CLONE_FILES},
                            CLONE_FS | long{CLONE_NEWNS}, CLONE_FS | 1L << 32}) {
      EXPECT_EQ(call(options, SYS_unshare, more, 0, 0), kKilled) << more;
    }
  }
  EXPECT_EQ(call({}, SYS_unshare, CLONE_FS, 0, 0), kKilled);
  EXPECT_EQ(call({.listen = true}, SYS_accept4, -1, 0, 0), kAllowed);
  EXPECT_EQ(call({}, SYS_accept4, -1, 0, 0), kKilled);
}

TEST(SeccompFilter, FifosAreCopiedOnlyWherePolicyHasThem) {
  const auto call = [](bool host_fifos, long number, long a, long b, long c) {
    return Under({.mode = SeccompMode::kKill, .host_fifos = host_fifos},
                 [=] { syscall(number, a, b, c); });
  };
  for (const bool has : {false, true}) {
    const Outcome expected = has ? kAllowed : kKilled;
    EXPECT_EQ(call(has, SYS_pipe2, 0, 0, 0), expected);
    EXPECT_EQ(call(has, SYS_tee, -1, -1, 1), expected);
    EXPECT_EQ(call(has, SYS_fcntl, -1, F_GETPIPE_SZ, 0), expected);
    EXPECT_EQ(call(has, SYS_fcntl, -1, F_SETPIPE_SZ, 4096), expected);
    EXPECT_EQ(call(has, SYS_splice, -1, 0, -1), kKilled);
  }
}

TEST(SeccompFilter, WhatFuseNeedsOnlyForFuse) {
  const auto call = [](SeccompOptions options, long number, long a, long b, long c) {
    options.mode = SeccompMode::kKill;
    return Under(options, [=] { syscall(number, a, b, c); });
  };
  for (const long number : {SYS_preadv2, SYS_copy_file_range, SYS_flock, SYS_getxattr}) {
    EXPECT_EQ(call({}, number, -1, 0, 0), kKilled) << "system call " << number;
    EXPECT_EQ(call({.fuse = true}, number, -1, 0, 0), kAllowed) << "system call " << number;
  }
  EXPECT_EQ(call({.fuse = true}, SYS_ioctl, -1, FS_IOC_GETFLAGS, 0), kAllowed);
  EXPECT_EQ(call({.fuse = true}, SYS_ioctl, -1, FIFREEZE, 0), kKilled);
  EXPECT_EQ(call({.fuse = true}, SYS_fcntl, -1, F_OFD_SETLK, 0), kAllowed);
  EXPECT_EQ(call({.fuse = true}, SYS_fcntl, -1, F_OFD_SETLKW, 0), kKilled) << "would wait";
  EXPECT_EQ(call({.fuse = true}, SYS_unshare, CLONE_NEWNS, 0, 0), kKilled);
  EXPECT_EQ(call({.fuse = true}, SYS_setresuid, -1, 1, -1), kKilled);
  EXPECT_EQ(call({.fuse_identity = true}, SYS_setresuid, -1, getuid(), -1), kAllowed);
  EXPECT_EQ(call({.fuse_identity = true}, SYS_setresuid, 1, 1, 1), kKilled) << "not for good";
  EXPECT_EQ(call({}, SYS_capset, 0, 0, 0), kKilled);
  EXPECT_EQ(call({.fuse = true}, SYS_capset, 0, 0, 0), kAllowed) << "writes drop set-id bits";
  EXPECT_EQ(call({.fuse = true}, SYS_open_by_handle_at, -1, 0, 0), kKilled);
  EXPECT_EQ(call({.file_handles = true}, SYS_open_by_handle_at, -1, 0, 0), kAllowed);
  EXPECT_EQ(Under({.mode = SeccompMode::kKill, .fuse_devices = true},
                  [] { syscall(SYS_mknodat, 1000, "x", S_IFCHR, 0x103); }),
            kAllowed);
}

TEST(SeccompFilter, Modes) {
  const auto getppid_call = [] { syscall(SYS_getppid); };
  EXPECT_EQ(Under({.mode = SeccompMode::kLog}, getppid_call), kAllowed);
  EXPECT_EQ(Under({.mode = SeccompMode::kNone}, getppid_call), kAllowed);
  EXPECT_EQ(Under({.mode = SeccompMode::kTrap}, getppid_call), kTrapped);
  const testing::ChildEnd end = testing::InChild([&] {
    if (InstallSeccompFilter({.mode = SeccompMode::kTrap}).ok()) getppid_call();
  });
  EXPECT_EQ(end.stderr_text.find("seccomp: system call "), 0u);
  EXPECT_NE(end.stderr_text.find(absl::StrCat(" ", SYS_getppid, " is not allowed\n")),
            std::string::npos)
      << end.stderr_text;
}

TEST(SeccompFilter, NamesOfModes) {
  for (const SeccompMode mode :
       {SeccompMode::kKill, SeccompMode::kTrap, SeccompMode::kLog, SeccompMode::kNone}) {
    EXPECT_EQ(*ParseSeccompMode(SeccompModeName(mode)), mode);
  }
  EXPECT_FALSE(ParseSeccompMode("off").ok());
}

}  // namespace
}  // namespace gofer::server
