// SystemCallTracer: watches the system calls of running programs, in the order in which they
// happen, and makes single ones fail, come short, or be the last thing that their process does. The
// programs are the shipped ones: nothing is compiled into them.
//
//   SystemCallTracer tracer({.follow = {gofer.pid()}}, [n = 0](const SystemCall& call) mutable {
//     return call.Is("fsync") && n++ == 2 ? Choice::Fail(EIO) : Choice::Let();
//   });
//   ...                                        // what makes the calls
//   for (const SystemCall& call : tracer.Stop()) ...
//
// A call that is to fail is not made: another one that changes nothing takes its place, one that
// the gofer's seccomp list allows, and its result is exchanged. So confinement is what it always
// is.
//
// Owner:   a process of its own does the work, and ends with this. What is followed goes on then.
// Threads: one; begin while few others run, the process is a copy of this one. The chooser runs in
//          the copy: what it changes is not seen here.
// Errors:  what fails ends the test at once.
// Needs:   root, x86-64.
// Source:  spec/security.md s.9 (injection on the shipped binary); ptrace(2).

#ifndef TEST_SUPPORT_SYSTEM_CALL_TRACER_H_
#define TEST_SUPPORT_SYSTEM_CALL_TRACER_H_

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "test/support/eventually.h"

namespace gofer::testing {

struct SystemCall {
  pid_t process = 0;
  pid_t thread = 0;
  long number = -1;
  std::array<uint64_t, 6> args = {};
  int64_t result = INT64_MIN;  // it has not returned
  bool changed = false;        // by the chooser

  bool Is(absl::string_view name) const { return Name() == name; }
  std::string Name() const;  // as in its man page
};

struct Choice {
  enum class What { kLet, kFail, kShorten, kKill };

  static Choice Let() { return {}; }
  static Choice Fail(int error) { return {.what = What::kFail, .error = error}; }
  // It gets a third argument of 1: what counts bytes ends after one.
  static Choice Shorten() { return {.what = What::kShorten}; }
  // The whole process ends before the call.
  static Choice Kill() { return {.what = What::kKill}; }

  What what = What::kLet;
  int error = 0;
};

struct Traced {
  std::vector<pid_t> follow = {};         // with all threads, and processes that they have made
  std::vector<std::string> command = {};  // is begun, and followed from its first call on
  std::map<int, int> fds = {};            // of the command: number there -> ours
};

class SystemCallTracer {
 public:
  using Chooser = std::function<Choice(const SystemCall&)>;

  static bool IsSupported();

  // What is followed is, when this returns.
  SystemCallTracer(const Traced& traced, Chooser chooser);
  ~SystemCallTracer();
  SystemCallTracer(const SystemCallTracer&) = delete;
  SystemCallTracer& operator=(const SystemCallTracer&) = delete;

  // The exit status of the command, or minus its signal; -1000 if it still runs after `timeout`.
  int Wait(absl::Duration timeout = kPatience);
  std::string CommandOutput() const;  // both streams
  // Whether the chooser has changed a call yet.
  bool HasChanged() const;
  // Lets go, and says what was seen. Later calls say the same.
  const std::vector<SystemCall>& Stop();

 private:
  struct Shared;

  Shared* const shared_;
  UniqueFd output_;
  pid_t tracer_ = -1;
  std::vector<SystemCall> seen_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_SYSTEM_CALL_TRACER_H_
