#include "test/support/forked.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "glog/logging.h"
#include "gtest/gtest.h"

namespace gofer::testing {

ChildEnd InChild(absl::FunctionRef<void()> body) {
  const int text = memfd_create("stderr", 0);
  PCHECK(text >= 0);
  std::fflush(nullptr);
  const pid_t child = fork();
  PCHECK(child >= 0);
  if (child == 0) {
    PCHECK(dup2(text, 2) == 2);
    close(text);
    body();
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  PCHECK(waitpid(child, &status, 0) == child);
  ChildEnd end;
  if (WIFEXITED(status)) end.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) end.signal = WTERMSIG(status);
  const off_t size = lseek(text, 0, SEEK_END);
  end.stderr_text.resize(static_cast<size_t>(size));
  PCHECK(pread(text, end.stderr_text.data(), end.stderr_text.size(), 0) == size);
  close(text);
  return end;
}

ChildEnd InMountNamespace(absl::FunctionRef<void()> body) {
  return InChild([&] {
    PCHECK(unshare(CLONE_NEWNS) == 0);
    PCHECK(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
    body();
  });
}

bool IsPrivileged() {
  return geteuid() == 0 && InChild([] { PCHECK(unshare(CLONE_NEWNS) == 0); }).status == 0;
}

}  // namespace gofer::testing
