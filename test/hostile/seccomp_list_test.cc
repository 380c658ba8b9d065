// The list of system calls: every number that there is, from the thread that installed the filter
// and from one that came later, numbers of other ABIs, and for every rule about an argument a value
// that breaks it. Whatever the table does not name ends the process. Attack.
//
// What rules let pass is in //gofer/server:seccomp_filter_test. Left out: that no rule is unused,
// as some are for kernels and C libraries that are not this machine's; each says its reason
// instead, in SECURITY.md.
//
// Source: spec/security.md s.1 step 12 and s.10.

#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "gofer/server/seccomp_filter.h"
#include "gofer/server/seccomp_rules.h"
#include "gtest/gtest.h"
#include "test/support/forked.h"

namespace gofer::server {
namespace {

constexpr long kLastNumber = 500;
// Its exit status when the call has come back.
constexpr int kCameBack = 40;

using Arguments = std::array<uint64_t, 6>;

enum class From { kMainThread, kWorker };

struct Attempt {
  long number;
  Arguments arguments;
};

void* Make(void* argument) {
  const auto& attempt = *static_cast<const Attempt*>(argument);
  const Arguments& a = attempt.arguments;
  syscall(attempt.number, a[0], a[1], a[2], a[3], a[4], a[5]);
  return nullptr;
}

// Between the filter and the end there is nothing but the call: no gtest, no exit handlers.
bool IsKilled(From from, Attempt attempt, SeccompOptions options = {}) {
  options.mode = SeccompMode::kKill;
  const testing::ChildEnd end = testing::InChild([&] {
    if (!InstallSeccompFilter(options).ok()) _exit(1);
    if (from == From::kMainThread) {
      Make(&attempt);
    } else {
      pthread_t thread;
      if (pthread_create(&thread, nullptr, &Make, &attempt) != 0) _exit(2);
      pthread_join(thread, nullptr);
    }
    syscall(SYS_exit_group, kCameBack);
  });
  return end.signal == SIGSYS;
}

// Everything that any gofer may be allowed.
SeccompOptions All() {
  return {.mode = SeccompMode::kKill,
          .listen = true,
          .host_sockets_open = true,
          .host_sockets_make = true,
          .host_fifos = true,
          .fuse = true,
          .fuse_identity = true,
          .fuse_devices = false,
          .vhost_user = true,
          .control = true,
          .file_handles = true};
}

TEST(SeccompList, EveryNumberFromEitherThread) {
  // Two are judged by more than the table: see the end of SECURITY.md's.
  std::set<long> known = {SYS_clone3, SYS_tgkill};
#ifdef __x86_64__
  known.insert(
      {335, 336});  // uretprobe, uprobe: the kernel's own trampolines, which no filter sees
#endif
  for (const SeccompRule& rule : SeccompRules()) {
    if (rule.set == RuleSet::kServe) known.insert(rule.number);
  }
  for (long number = 0; number <= kLastNumber; ++number) {
    if (known.count(number) > 0) continue;
    const From from = number % 2 == 0 ? From::kMainThread : From::kWorker;
    EXPECT_TRUE(IsKilled(from, {.number = number, .arguments = {}})) << number;
  }
}

// Those that could do most, from both.
TEST(SeccompList, TheWorstFromBothThreads) {
  for (const long number : {SYS_execve,
                            SYS_execveat,
                            SYS_fork,
                            SYS_vfork,
                            SYS_ptrace,
                            SYS_mount,
                            SYS_umount2,
                            SYS_pivot_root,
                            SYS_chroot,
                            SYS_setns,
                            SYS_unshare,
                            SYS_socket,
                            SYS_bpf,
                            SYS_io_uring_setup,
                            SYS_open_by_handle_at,
                            SYS_kill,
                            SYS_process_vm_writev,
                            SYS_open,
                            SYS_init_module,
                            SYS_keyctl,
                            SYS_perf_event_open,
                            SYS_userfaultfd,
                            SYS_setuid,
                            SYS_chmod}) {
    for (const From from : {From::kMainThread, From::kWorker}) {
      EXPECT_TRUE(IsKilled(from, {.number = number, .arguments = {}})) << number;
    }
  }
}

#ifdef __x86_64__
TEST(SeccompList, NumbersOfOtherAbis) {
  constexpr long kX32 = 0x40000000;
  for (const From from : {From::kMainThread, From::kWorker}) {
    for (const long number : {SYS_getpid, SYS_read, SYS_openat2, SYS_execve}) {
      EXPECT_TRUE(IsKilled(from, {.number = kX32 + number, .arguments = {}})) << number;
    }
  }
  // 20 is getpid in i386's table, by the gate that its programs use.
  const testing::ChildEnd end = testing::InChild([] {
    if (!InstallSeccompFilter({.mode = SeccompMode::kKill}).ok()) _exit(1);
    long result = 20;
    asm volatile("int $0x80" : "+a"(result) : : "memory", "r8", "r9", "r10", "r11");
    syscall(SYS_exit_group, kCameBack);
  });
  EXPECT_TRUE(end.signal == SIGSYS || end.signal == SIGSEGV) << "a kernel without that gate: SEGV";
}
#endif

bool Fits(const Condition& condition, const Arguments& arguments) {
  return (arguments[condition.argument] & condition.mask) == condition.value;
}

bool Fits(const SeccompRule& rule, const Arguments& arguments) {
  return std::all_of(rule.conditions.begin(), rule.conditions.end(),
                     [&](const Condition& condition) { return Fits(condition, arguments); });
}

// For each condition of each rule: the other conditions hold and this one does not. With all that
// options can add, so that no rule is left out.
TEST(SeccompList, EveryConditionOfEveryRule) {
  int tried = 0;
  for (const SeccompRule& rule : SeccompRules()) {
    // What makes devices takes the place of a rule, and would let its breaches pass.
    if (rule.set == RuleSet::kFuseDevices) continue;
    Arguments good = {};
    for (const Condition& condition : rule.conditions) {
      if (condition.mask != 0) good[condition.argument] |= condition.value;
    }
    for (const Condition& condition : rule.conditions) {
      // The two lowest bits, which alone are enough.
      int bits = 0;
      for (uint64_t bit = 1; bit != 0 && bits < 2; bit <<= 1) {
        if ((condition.mask & bit) == 0) continue;
        ++bits;
        Arguments bad = good;
        bad[condition.argument] ^= bit;
        const bool allowed_by_another = std::any_of(
            SeccompRules().begin(), SeccompRules().end(), [&](const SeccompRule& other) {
              return other.number == rule.number && other.set != RuleSet::kFuseDevices &&
                     Fits(other, bad);
            });
        if (allowed_by_another) continue;
        ++tried;
        EXPECT_TRUE(IsKilled(From::kWorker, {.number = rule.number, .arguments = bad}, All()))
            << rule.name << " (" << rule.reason << ") argument "
            << static_cast<int>(condition.argument) << " bit " << bit;
      }
    }
  }
  EXPECT_GT(tried, 40);
}

}  // namespace
}  // namespace gofer::server
