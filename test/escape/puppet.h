// A thread of another process that makes the system calls it is told to, as one that an attacker
// has taken over would: by ptrace, between two instructions of its own.
//
// The binary is the one that ships; nothing in it knows of this.
//
// Owner:   lets the thread go on where it was. Threads: one, always the same. Errors: what fails
//          ends the test at once.
// Source:  ptrace(2); the x86-64 system call convention.

#ifndef TEST_ESCAPE_PUPPET_H_
#define TEST_ESCAPE_PUPPET_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"

namespace gofer::testing {

class Puppet {
 public:
  // A thread that waits in a system call.
  explicit Puppet(pid_t tid);
  ~Puppet();
  Puppet(const Puppet&) = delete;
  Puppet& operator=(const Puppet&) = delete;

  // What the kernel answered: a value, or minus an errno. Nothing if the call ended the process;
  // end_signal() is what did.
  std::optional<int64_t> Call(int64_t number, std::array<uint64_t, 6> arguments = {});
  int end_signal() const { return end_signal_; }

  // The address of bytes in the thread's memory, good until the next Call has returned.
  uint64_t Put(absl::string_view bytes);
  uint64_t PutString(absl::string_view text);

 private:
  void WaitForStop();

  const pid_t tid_;
  int end_signal_ = 0;
  bool alive_ = true;
  uint64_t put_ = 0;  // bytes below the stack that are in use
};

}  // namespace gofer::testing

#endif  // TEST_ESCAPE_PUPPET_H_
