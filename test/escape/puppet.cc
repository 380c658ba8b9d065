#include "test/escape/puppet.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"

namespace gofer::testing {
namespace {

constexpr uint64_t kSyscallInstruction = 0x050f;
// Below what a function may use without moving the stack pointer.
constexpr uint64_t kBelowStack = 4096;

struct user_regs_struct Registers(pid_t tid) {
  struct user_regs_struct registers;
  PCHECK(ptrace(PTRACE_GETREGS, tid, nullptr, &registers) == 0);
  return registers;
}

void SetRegisters(pid_t tid, const struct user_regs_struct& registers) {
  PCHECK(ptrace(PTRACE_SETREGS, tid, nullptr, &registers) == 0);
}

}  // namespace

Puppet::Puppet(pid_t tid) : tid_(tid) {
  PCHECK(ptrace(PTRACE_SEIZE, tid_, nullptr, nullptr) == 0) << tid_;
  PCHECK(ptrace(PTRACE_INTERRUPT, tid_, nullptr, nullptr) == 0);
  WaitForStop();
  CHECK(alive_);
  errno = 0;
  const auto code =
      static_cast<uint64_t>(ptrace(PTRACE_PEEKTEXT, tid_, Registers(tid_).rip - 2, nullptr));
  PCHECK(errno == 0);
  CHECK_EQ(code & 0xffff, kSyscallInstruction) << "the thread does not wait in a system call";
}

Puppet::~Puppet() {
  if (alive_) ptrace(PTRACE_DETACH, tid_, nullptr, nullptr);
}

void Puppet::WaitForStop() {
  int status = 0;
  PCHECK(waitpid(tid_, &status, __WALL) == tid_);
  if (WIFSTOPPED(status)) return;
  alive_ = false;
  end_signal_ = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

std::optional<int64_t> Puppet::Call(int64_t number, std::array<uint64_t, 6> arguments) {
  CHECK(alive_);
  put_ = 0;
  const struct user_regs_struct before = Registers(tid_);
  struct user_regs_struct registers = before;
  registers.rip -= 2;
  registers.rax = static_cast<uint64_t>(number);
  registers.orig_rax = ~uint64_t{0};  // nothing is to be begun anew
  registers.rdi = arguments[0];
  registers.rsi = arguments[1];
  registers.rdx = arguments[2];
  registers.r10 = arguments[3];
  registers.r8 = arguments[4];
  registers.r9 = arguments[5];
  SetRegisters(tid_, registers);
  PCHECK(ptrace(PTRACE_SINGLESTEP, tid_, nullptr, nullptr) == 0);
  WaitForStop();
  if (!alive_) return std::nullopt;
  const auto result = static_cast<int64_t>(Registers(tid_).rax);
  SetRegisters(tid_, before);
  return result;
}

uint64_t Puppet::Put(absl::string_view bytes) {
  put_ += (bytes.size() + 15) / 16 * 16;
  CHECK_LE(put_, kBelowStack);
  const uint64_t at = (Registers(tid_).rsp - 2 * kBelowStack - put_) / 16 * 16;
  const struct iovec from = {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  const struct iovec to = {.iov_base = reinterpret_cast<void*>(at), .iov_len = bytes.size()};
  PCHECK(process_vm_writev(tid_, &from, 1, &to, 1, 0) == static_cast<ssize_t>(bytes.size()));
  return at;
}

uint64_t Puppet::PutString(absl::string_view text) {
  return Put(absl::string_view(absl::StrCat(text, absl::string_view("\0", 1))));
}

}  // namespace gofer::testing
