#include "gofer/sys/poll.h"

#include <sched.h>
#include <unistd.h>

#include <vector>

#include "absl/time/clock.h"
#include "gofer/sys/event_fd.h"
#include "gofer/sys/processors.h"
#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

TEST(WaitReadable, TellsWhichAreReady) {
  const ErrnoOr<EventFd> first = EventFd::Create(), second = EventFd::Create();
  ASSERT_TRUE(first.ok() && second.ok());
  const BorrowedFd fds[] = {first->fd(), second->fd()};
  EXPECT_TRUE(WaitReadable(fds, absl::ZeroDuration())->empty());
  second->Raise();
  second->Raise();
  EXPECT_EQ(*WaitReadable(fds, absl::InfiniteDuration()), std::vector<size_t>{1});
  first->Raise();
  EXPECT_EQ(*WaitReadable(fds, absl::InfiniteDuration()), (std::vector<size_t>{0, 1}));
}

TEST(WaitReadable, EndOfFileCounts) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  const UniqueFd reader(pipe_fds[0]);
  close(pipe_fds[1]);
  const BorrowedFd fds[] = {reader};
  EXPECT_EQ(WaitReadable(fds, absl::InfiniteDuration())->size(), 1u);
}

TEST(WaitReadable, EndsAfterTheTimeout) {
  const ErrnoOr<EventFd> event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  const BorrowedFd fds[] = {event->fd()};
  const absl::Time before = absl::Now();
  EXPECT_TRUE(WaitReadable(fds, absl::Milliseconds(20))->empty());
  EXPECT_GE(absl::Now() - before, absl::Milliseconds(19));
}

TEST(ProcessorCount, IsWhatTheProcessMayUse) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(ProcessorCount(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(ProcessorCount(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

}  // namespace
}  // namespace gofer::sys
