#include "test/support/system_call_tracer.h"

#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "glog/logging.h"

namespace gofer::testing {
namespace {

constexpr int kStillRunning = -1000;
constexpr size_t kMaxSeen = 20'000;
// Above every number that a test asks for.
constexpr int kScratch = 500;
constexpr long kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
                          PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC;

void OnWake(int) {}

pid_t ProcessOf(pid_t thread) {
  std::ifstream status(absl::StrCat("/proc/", thread, "/status"));
  for (std::string line; std::getline(status, line);) {
    absl::string_view text = line;
    pid_t process;
    if (absl::ConsumePrefix(&text, "Tgid:") &&
        absl::SimpleAtoi(absl::StripAsciiWhitespace(text), &process)) {
      return process;
    }
  }
  return thread;
}

// The threads of a process, and of those that they have made.
std::set<pid_t> ThreadsOf(pid_t process) {
  std::set<pid_t> threads;
  std::error_code error;
  for (const auto& task :
       std::filesystem::directory_iterator(absl::StrCat("/proc/", process, "/task"), error)) {
    pid_t thread;
    if (absl::SimpleAtoi(task.path().filename().string(), &thread)) threads.insert(thread);
    std::ifstream children(task.path() / "children");
    for (pid_t child; children >> child;) threads.merge(ThreadsOf(child));
  }
  return threads;
}

// Closes all else: a peer that the test closes is to be seen to be closed. Returns where they are
// now.
std::map<int, int> KeepOnly(const std::map<int, int>& fds, int output) {
  std::map<int, int> kept = fds;
  kept[1] = kept[2] = output;
  int next = kScratch;
  for (auto& [as, from] : kept) {
    PCHECK((from = fcntl(from, F_DUPFD_CLOEXEC, next)) >= next);
    next = from + 1;
  }
  PCHECK(close_range(3, kScratch - 1, 0) == 0);
  PCHECK(close_range(static_cast<unsigned>(next), ~0u, 0) == 0);
  return kept;
}

#if defined(__x86_64__)
// Another call in the place of one that is to fail; what is returned is set when it ends.
void SetNumber(pid_t thread, long number) {
  struct user_regs_struct registers;
  PCHECK(ptrace(PTRACE_GETREGS, thread, nullptr, &registers) == 0);
  registers.orig_rax = static_cast<unsigned long long>(number);
  PCHECK(ptrace(PTRACE_SETREGS, thread, nullptr, &registers) == 0);
}
void SetResult(pid_t thread, int64_t result) {
  struct user_regs_struct registers;
  PCHECK(ptrace(PTRACE_GETREGS, thread, nullptr, &registers) == 0);
  registers.rax = static_cast<unsigned long long>(result);
  PCHECK(ptrace(PTRACE_SETREGS, thread, nullptr, &registers) == 0);
}
void SetThird(pid_t thread, uint64_t value) {
  struct user_regs_struct registers;
  PCHECK(ptrace(PTRACE_GETREGS, thread, nullptr, &registers) == 0);
  registers.rdx = value;
  PCHECK(ptrace(PTRACE_SETREGS, thread, nullptr, &registers) == 0);
}
constexpr bool kIsSupported = true;
#else
void SetNumber(pid_t, long) { LOG(FATAL) << "not on this architecture"; }
void SetResult(pid_t, int64_t) { LOG(FATAL) << "not on this architecture"; }
void SetThird(pid_t, uint64_t) { LOG(FATAL) << "not on this architecture"; }
constexpr bool kIsSupported = false;
#endif

}  // namespace

struct SystemCallTracer::Shared {
  std::atomic<bool> ready{false};
  std::atomic<bool> stop{false};
  std::atomic<bool> changed{false};
  std::atomic<int> command_status{kStillRunning};
  std::atomic<uint32_t> count{0};
  SystemCall seen[kMaxSeen];
};

namespace {

// In the process that does the work. Shared is its template parameter for it is private there.
template <typename Shared>
class Loop {
 public:
  Loop(Shared& shared, SystemCallTracer::Chooser chooser)
      : shared_(shared), chooser_(std::move(chooser)) {}

  void Follow(pid_t process) {
    // Threads that are made meanwhile are found by another look, or follow their maker.
    for (bool found = true; found;) {
      found = false;
      for (const pid_t thread : ThreadsOf(process)) {
        if (threads_.contains(thread) || !Seize(thread)) continue;
        found = true;
      }
    }
  }

  // `fds` are its own, and closed here.
  void Begin(const std::vector<std::string>& command, const std::map<int, int>& fds) {
    int gate[2];
    PCHECK(pipe2(gate, O_CLOEXEC) == 0);
    command_ = fork();
    PCHECK(command_ >= 0);
    if (command_ == 0) Become(command, fds, gate[0]);
    for (const auto& [as, from] : fds) close(from);
    close(gate[0]);
    CHECK(Seize(command_));
    // It is held when it has been seen to stop once, see Run.
    gate_ = gate[1];
  }

  [[noreturn]] void Run() {
    for (;;) {
      if (shared_.stop && pending_ == 0) _exit(0);
      int status = 0;
      const pid_t thread = waitpid(-1, &status, __WALL);
      if (thread < 0 && errno == ECHILD) _exit(0);
      if (thread < 0) continue;
      if (WIFEXITED(status) || WIFSIGNALED(status)) {
        OnEnd(thread, status);
      } else {
        OnStop(thread, status);
      }
      if (std::all_of(threads_.begin(), threads_.end(),
                      [](const auto& entry) { return entry.second.held; })) {
        OpenGate();
        shared_.ready = true;
      }
    }
  }

 private:
  struct Thread {
    bool held = false;  // has stopped once, and goes from call to call since
    pid_t process = 0;
    uint32_t index = 0;  // of the call that it is in
    Choice choice;
    uint64_t third = 0;
  };

  [[noreturn]] static void Become(const std::vector<std::string>& command,
                                  const std::map<int, int>& fds, int gate) {
    char byte;
    while (read(gate, &byte, 1) < 0 && errno == EINTR) continue;
    for (const auto& [as, from] : fds) PCHECK(dup2(from, as) == as);
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    execv(words[0], words.data());
    PLOG(ERROR) << command[0];
    _exit(127);
  }

  bool Seize(pid_t thread) {
    if (ptrace(PTRACE_SEIZE, thread, nullptr, kOptions) != 0) {
      PCHECK(errno == ESRCH || errno == EPERM) << thread;  // it has ended, or follows its maker
      return false;
    }
    PCHECK(ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) == 0 || errno == ESRCH);
    threads_[thread].process = ProcessOf(thread);
    return true;
  }

  void OpenGate() {
    if (gate_ < 0) return;
    PCHECK(write(gate_, "x", 1) == 1);
    close(std::exchange(gate_, -1));
  }

  void OnEnd(pid_t thread, int status) {
    if (const auto ended = threads_.find(thread); ended != threads_.end()) {
      if (ended->second.choice.what != Choice::What::kLet) --pending_;
      threads_.erase(ended);
    }
    if (thread == command_) {
      shared_.command_status = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    }
  }

  void OnStop(pid_t thread, int status) {
    Thread& state = threads_[thread];
    if (state.process == 0) state.process = ProcessOf(thread);
    state.held = true;
    const int signal = WSTOPSIG(status);
    int deliver = 0;
    if (signal == (SIGTRAP | 0x80)) {
      OnCall(thread, state);
    } else if (status >> 16 == 0) {
      deliver = signal;
    }
    // It may have been killed meanwhile.
    PCHECK(ptrace(PTRACE_SYSCALL, thread, nullptr, static_cast<long>(deliver)) == 0 ||
           errno == ESRCH);
  }

  void OnCall(pid_t thread, Thread& state) {
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof(info), &info) <= 0) return;
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY) OnEntry(thread, state, info);
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) OnExit(thread, state, info);
  }

  void OnEntry(pid_t thread, Thread& state, const struct __ptrace_syscall_info& info) {
    SystemCall call = {
        .process = state.process, .thread = thread, .number = static_cast<long>(info.entry.nr)};
    std::copy_n(info.entry.args, call.args.size(), call.args.begin());
    state.choice = chooser_(call);
    call.changed = state.choice.what != Choice::What::kLet;
    state.index = shared_.count;
    CHECK_LT(state.index, kMaxSeen) << "too many calls to remember";
    shared_.seen[state.index] = call;
    shared_.count = state.index + 1;
    if (!call.changed) return;
    ++pending_;
    shared_.changed = true;
    switch (state.choice.what) {
      case Choice::What::kLet:
        break;
      case Choice::What::kFail:
        SetNumber(thread, SYS_sched_yield);
        break;
      case Choice::What::kShorten:
        state.third = call.args[2];
        SetThird(thread, std::min<uint64_t>(state.third, 1));
        break;
      case Choice::What::kKill:
        PCHECK(kill(state.process, SIGKILL) == 0);
        break;
    }
  }

  void OnExit(pid_t thread, Thread& state, const struct __ptrace_syscall_info& info) {
    SystemCall& call = shared_.seen[state.index];
    call.result = info.exit.rval;
    if (state.choice.what == Choice::What::kFail) {
      call.result = -state.choice.error;
      SetResult(thread, call.result);
    }
    // Whoever makes a call relies on its arguments being left alone.
    if (state.choice.what == Choice::What::kShorten) SetThird(thread, state.third);
    if (state.choice.what != Choice::What::kLet) --pending_;
    state.choice = Choice::Let();
  }

  Shared& shared_;
  const SystemCallTracer::Chooser chooser_;
  std::map<pid_t, Thread> threads_;
  pid_t command_ = -1;
  int gate_ = -1;
  int pending_ = 0;  // calls that are changed, and have not returned
};

}  // namespace

std::string SystemCall::Name() const {
  // What the library of this machine may be too old for.
  constexpr std::pair<long, absl::string_view> kNew[] = {{452, "fchmodat2"},
                                                         {463, "setxattrat"},
                                                         {464, "getxattrat"},
                                                         {465, "listxattrat"},
                                                         {466, "removexattrat"}};
  for (const auto& [known, called] : kNew) {
    if (number == known) return std::string(called);
  }
  const std::unique_ptr<char, void (*)(void*)> name(
      seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number)), free);
  return name != nullptr ? name.get() : absl::StrCat(number);
}

bool SystemCallTracer::IsSupported() { return kIsSupported && geteuid() == 0; }

SystemCallTracer::SystemCallTracer(const Traced& traced, Chooser chooser)
    : shared_([] {
        void* const memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        PCHECK(memory != MAP_FAILED);
        return new (memory) Shared;
      }()),
      output_(memfd_create("output", MFD_CLOEXEC)) {
  PCHECK(output_.valid());
  const pid_t test = getpid();
  tracer_ = fork();
  PCHECK(tracer_ >= 0);
  if (tracer_ == 0) {
    struct sigaction wake = {};
    wake.sa_handler = OnWake;  // waitpid returns
    PCHECK(sigaction(SIGUSR1, &wake, nullptr) == 0);
    CHECK_EQ(getppid(), test);
    Loop<Shared> loop(*shared_, std::move(chooser));
    const std::map<int, int> fds = KeepOnly(traced.fds, output_.get());
    for (const pid_t process : traced.follow) loop.Follow(process);
    if (!traced.command.empty()) loop.Begin(traced.command, fds);
    loop.Run();
  }
  while (!shared_->ready) {
    PCHECK(waitpid(tracer_, nullptr, WNOHANG) == 0) << "the tracer has ended";
    absl::SleepFor(absl::Microseconds(100));
  }
}

SystemCallTracer::~SystemCallTracer() {
  Stop();
  munmap(shared_, sizeof(Shared));
}

int SystemCallTracer::Wait(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  while (shared_->command_status == kStillRunning && absl::Now() < deadline) {
    absl::SleepFor(absl::Microseconds(200));
  }
  return shared_->command_status;
}

std::string SystemCallTracer::CommandOutput() const {
  std::string text(static_cast<size_t>(lseek(output_.get(), 0, SEEK_END)), '\0');
  PCHECK(pread(output_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return text;
}

bool SystemCallTracer::HasChanged() const { return shared_->changed; }

const std::vector<SystemCall>& SystemCallTracer::Stop() {
  if (tracer_ < 0) return seen_;
  shared_->stop = true;
  // It may be just about to wait: once is not enough.
  int status = 0;
  while (waitpid(tracer_, &status, WNOHANG) == 0) {
    kill(tracer_, SIGUSR1);
    absl::SleepFor(absl::Microseconds(200));
  }
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the tracer ended with " << status;
  tracer_ = -1;
  seen_.assign(shared_->seen, shared_->seen + shared_->count);
  return seen_;
}

}  // namespace gofer::testing
