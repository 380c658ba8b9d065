// The gofer binary as a process of its own: started with arguments and descriptors, watched, waited
// for.
//
// A test names the binary by its `data`: //gofer. Errors: what fails ends the test at once.
// Threads: one. The destructor kills what still runs. What a sanitizer has found in the process
// fails the test.

#ifndef TEST_SUPPORT_GOFER_PROCESS_H_
#define TEST_SUPPORT_GOFER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "test/support/eventually.h"

namespace gofer::testing {

struct GoferStart {
  std::string name = "gofer";  // argv[0]
  std::vector<std::string> arguments = {};
  std::map<int, int> fds =
      {};  // number in the process -> ours; nothing else but the standard streams is its own
  // As runsc starts its gofer: new ipc, mount, network, pid and uts namespaces.
  bool namespaces = false;
  // And a user namespace, in which nobody is anybody before MapIds.
  bool user_namespace = false;
  std::vector<std::string> environment = {};
  // Becomes this user and group before it begins.
  std::optional<uint32_t> user = std::nullopt;
};

class GoferProcess {
 public:
  explicit GoferProcess(const GoferStart& start);
  ~GoferProcess();
  GoferProcess(const GoferProcess&) = delete;
  GoferProcess& operator=(const GoferProcess&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // The user namespace's ids become those of the host.
  void MapIds() const;
  // The exit status, or minus the signal that ended it; -1000 if it still runs after `timeout`.
  int Wait(absl::Duration timeout = kPatience);
  bool Running();

  std::string Stdout() const;
  std::string Stderr() const;
  // A line of /proc/PID/status without its name, of every thread; all threads must have the same.
  std::string Status(absl::string_view name) const;
  std::vector<int> OpenFds() const;

 private:
  pid_t pid_ = -1;
  int status_ = -1000;
  UniqueFd stdout_;
  UniqueFd stderr_;
};

// Where Bazel put it.
std::string GoferBinary();

// A connected pair: what the gofer gets, and ours.
struct SocketPair {
  UniqueFd theirs;
  UniqueFd ours;
};
SocketPair StreamPair();
struct Pipe {
  UniqueFd read;
  UniqueFd write;
};
Pipe MakePipe();
// All until end of file; "(nothing yet)" if nothing comes within `timeout`.
std::string ReadPipe(BorrowedFd pipe, absl::Duration timeout = kPatience);

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_GOFER_PROCESS_H_
