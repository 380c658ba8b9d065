// Runs a part of a test in a child process: where it confines itself for good, dies, or needs
// namespaces of its own.
//
// Threads: call it while the test has one thread. Errors: what the child EXPECTs and does not get
// makes its status 1.

#ifndef TEST_SUPPORT_FORKED_H_
#define TEST_SUPPORT_FORKED_H_

#include <string>

#include "absl/functional/function_ref.h"

namespace gofer::testing {

struct ChildEnd {
  int status = -1;  // exit status, -1 if a signal ended it
  int signal = 0;
  std::string stderr_text;  // what it wrote to descriptor 2
};

ChildEnd InChild(absl::FunctionRef<void()> body);
// The same in a mount namespace of its own, from which no mount reaches the host.
ChildEnd InMountNamespace(absl::FunctionRef<void()> body);

// Whether the test may make namespaces and mounts. Skip without.
bool IsPrivileged();

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_FORKED_H_
