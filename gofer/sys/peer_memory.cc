#include "gofer/sys/peer_memory.h"

#include <linux/magic.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "absl/base/attributes.h"
#include "absl/base/const_init.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"

namespace gofer::sys {
namespace {

// What the signal handler knows of a mapping. An entry is in use while `begin` is not 0.
struct Guard {
  std::atomic<uintptr_t> begin;
  std::atomic<uintptr_t> end;
  std::atomic<size_t> page_size;
  std::atomic<int> on_break;
  std::atomic<bool> broken;
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free);

// Several front-ends with all their regions, logs and in-flight regions.
constexpr size_t kMaxGuards = 4096;

std::array<Guard, kMaxGuards> guards;
std::atomic<size_t> guards_end;                           // entries from here on were never used
ABSL_CONST_INIT absl::Mutex guards_mu(absl::kConstInit);  // for those who add and remove
struct sigaction former_action;

// Puts zeroes where the file has nothing any more. Async-signal-safe; past the C library, whose
// mmap a sanitizer may have replaced.
bool Mend(Guard& guard, uintptr_t begin, uintptr_t address) {
  const size_t page_size = guard.page_size.load(std::memory_order_relaxed);
  const int on_break = guard.on_break.load(std::memory_order_relaxed);
  // Another mapping may have got this entry since its begin was read; ours cannot have lost it,
  // since somebody touches it at this very moment.
  std::atomic_signal_fence(std::memory_order_seq_cst);
  if (guard.begin.load(std::memory_order_acquire) != begin) return false;
  const uintptr_t page = address & ~(page_size - 1);
  if (syscall(SYS_mmap, page, page_size, PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) < 0) {
    return false;
  }
  guard.broken.store(true, std::memory_order_release);
  if (on_break >= 0) {
    const uint64_t one = 1;
    [[maybe_unused]] const auto put = syscall(SYS_write, on_break, &one, sizeof(one));
  }
  return true;
}

bool Mend(uintptr_t address) {
  const size_t end = guards_end.load(std::memory_order_acquire);
  for (size_t i = 0; i < end; ++i) {
    const uintptr_t begin = guards[i].begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin) continue;
    if (address >= guards[i].end.load(std::memory_order_relaxed)) continue;
    if (Mend(guards[i], begin, address)) return true;
  }
  return false;
}

void OnBusError(int signal, siginfo_t* info, void* context) {
  const int saved_errno = errno;
  // A code above 0 is the kernel's: si_addr is where it happened.
  const bool mended = info->si_code > 0 && Mend(reinterpret_cast<uintptr_t>(info->si_addr));
  errno = saved_errno;
  if (mended) return;
  if ((former_action.sa_flags & SA_SIGINFO) != 0) {
    former_action.sa_sigaction(signal, info, context);
  } else if (former_action.sa_handler != SIG_DFL && former_action.sa_handler != SIG_IGN) {
    former_action.sa_handler(signal);
  } else {
    // Not ours: the access is made again, and ends the process as it would have.
    struct sigaction deadly = {};
    deadly.sa_handler = SIG_DFL;
    sigaction(signal, &deadly, nullptr);
    if (info->si_code <= 0) raise(signal);
  }
}

void InstallHandler() ABSL_EXCLUSIVE_LOCKS_REQUIRED(guards_mu) {
  static bool installed = false;
  if (installed) return;
  installed = true;
  struct sigaction action = {};
  action.sa_sigaction = OnBusError;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, nullptr, &former_action);
  sigaction(SIGBUS, &action, nullptr);
}

// The entry for a mapping, or kMaxGuards.
size_t AddGuard(std::span<const std::byte> mapped, size_t page_size, BorrowedFd on_break) {
  absl::MutexLock lock(&guards_mu);
  InstallHandler();
  size_t i = 0;
  while (i < kMaxGuards && guards[i].begin.load(std::memory_order_relaxed) != 0) ++i;
  if (i == kMaxGuards) return i;
  Guard& guard = guards[i];
  const auto begin = reinterpret_cast<uintptr_t>(mapped.data());
  guard.end.store(begin + mapped.size(), std::memory_order_relaxed);
  guard.page_size.store(page_size, std::memory_order_relaxed);
  guard.on_break.store(on_break.get(), std::memory_order_relaxed);
  guard.broken.store(false, std::memory_order_relaxed);
  guard.begin.store(begin, std::memory_order_release);
  if (i >= guards_end.load(std::memory_order_relaxed)) {
    guards_end.store(i + 1, std::memory_order_release);
  }
  return i;
}

void RemoveGuard(size_t guard) {
  absl::MutexLock lock(&guards_mu);
  guards[guard].begin.store(0, std::memory_order_release);
}

struct FileFacts {
  bool sized;  // has an end, beyond which there is nothing to touch
  uint64_t size;
  size_t page_size;
};

ErrnoOr<FileFacts> Examine(BorrowedFd file) {
  ASSIGN_OR_RETURN(const Attr attr, Statx(file));
  // A character device: memory of /dev/dax.
  if (!S_ISREG(attr.stx_mode) && !S_ISCHR(attr.stx_mode)) return Errno(EINVAL);
  ASSIGN_OR_RETURN(const struct statfs fs, StatFs(file));
  const bool huge = fs.f_type == HUGETLBFS_MAGIC;
  return FileFacts{.sized = S_ISREG(attr.stx_mode),
                   .size = attr.stx_size,
                   .page_size = static_cast<size_t>(huge ? fs.f_bsize : sysconf(_SC_PAGESIZE))};
}

}  // namespace

ErrnoOr<PeerMemory> PeerMemory::Map(BorrowedFd file, uint64_t offset, uint64_t size,
                                    BorrowedFd on_break) {
  ASSIGN_OR_RETURN(const FileFacts facts, Examine(file));
  if (size == 0) return Errno(EINVAL);
  if (facts.sized && (offset > facts.size || size > facts.size - offset)) return Errno(EFBIG);
  // Whole pages, of the file system's size: hugetlbfs maps and unmaps nothing smaller.
  const uint64_t before = offset & (facts.page_size - 1);
  constexpr uint64_t kMost = uint64_t{1} << 47;  // more than a process has room for
  if (size > kMost || offset > static_cast<uint64_t>(INT64_MAX) - kMost) return Errno(EFBIG);
  const auto length =
      static_cast<size_t>((before + size + facts.page_size - 1) & ~(facts.page_size - 1));
  void* const at = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                        file.get(), static_cast<off_t>(offset - before));
  if (at == MAP_FAILED) return Errno::Last();
  const std::span mapped(static_cast<std::byte*>(at), length);
  // The guest's memory is not for our core dumps. A kernel that does not know it has none to hide.
  madvise(at, length, MADV_DONTDUMP);
  const size_t guard = AddGuard(mapped, facts.page_size, on_break);
  if (guard == kMaxGuards) {
    munmap(at, length);
    return Errno(ENOMEM);
  }
  return PeerMemory(mapped, mapped.subspan(static_cast<size_t>(before), static_cast<size_t>(size)),
                    guard);
}

PeerMemory::~PeerMemory() {
  if (guard_ == kNoGuard) return;
  RemoveGuard(guard_);
  munmap(mapped_.data(), mapped_.size());
}

bool PeerMemory::broken() const { return guards[guard_].broken.load(std::memory_order_acquire); }

}  // namespace gofer::sys
