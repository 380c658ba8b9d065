#include "gofer/sys/child.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/time/clock.h"
#include "gofer/sys/poll.h"
#include "gofer/sys/process.h"
#include "gtest/gtest.h"
#include "test/support/gofer_process.h"

namespace gofer::sys {
namespace {

TEST(Fork, StatusAndSignalOfTheChild) {
  const ErrnoOr<int> exits = Fork(SIGKILL);
  ASSERT_TRUE(exits.ok());
  if (*exits == 0) ExitNow(7);
  const ErrnoOr<ChildStatus> status = WaitForChild(*exits);
  ASSERT_TRUE(status.ok());
  EXPECT_EQ(status->status, 7);
  EXPECT_EQ(status->signal, 0);

  const ErrnoOr<int> waits = Fork(SIGKILL);
  ASSERT_TRUE(waits.ok());
  if (*waits == 0) {
    for (;;) ::pause();
  }
  const ErrnoOr<UniqueFd> process = ProcessDescriptor(*waits);
  ASSERT_TRUE(process.ok());
  const BorrowedFd watched[] = {process->borrow()};
  EXPECT_TRUE(WaitReadable(watched, absl::Milliseconds(1))->empty());
  ASSERT_TRUE(SignalChild(*waits, SIGTERM).ok());
  EXPECT_EQ(WaitReadable(watched, absl::Seconds(10))->size(), 1u);
  EXPECT_EQ(WaitForChild(*waits)->signal, SIGTERM);
}

TEST(Fork, TheChildEndsWithItsParent) {
  testing::Pipe pipe = testing::MakePipe();
  const ErrnoOr<int> parent = Fork(SIGKILL);
  ASSERT_TRUE(parent.ok());
  if (*parent == 0) {
    const ErrnoOr<int> child = Fork(SIGTERM);
    if (child.ok() && *child == 0) {
      for (;;) ::pause();
    }
    ExitNow(child.ok() ? 0 : 1);
  }
  EXPECT_EQ(WaitForChild(*parent)->status, 0);
  pipe.write.Reset();
  EXPECT_EQ(testing::ReadPipe(pipe.read), "") << "end of file: nobody holds the other end any more";
}

}  // namespace
}  // namespace gofer::sys
