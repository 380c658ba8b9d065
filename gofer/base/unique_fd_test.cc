#include "gofer/base/unique_fd.h"

#include <fcntl.h>

#include <utility>

#include "gtest/gtest.h"

namespace gofer {
namespace {

UniqueFd OpenSomething() { return UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC)); }
bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST(UniqueFd, ClosesWhenItDies) {
  int number;
  {
    const UniqueFd fd = OpenSomething();
    ASSERT_TRUE(fd.valid());
    number = fd.get();
    EXPECT_TRUE(IsOpen(number));
  }
  EXPECT_FALSE(IsOpen(number));
}

TEST(UniqueFd, MovingClosesTheTargetsOwn) {
  UniqueFd from = OpenSomething();
  UniqueFd to = OpenSomething();
  const int kept = from.get();
  const int dropped = to.get();
  to = std::move(from);
  EXPECT_EQ(to.get(), kept);
  EXPECT_TRUE(IsOpen(kept));
  EXPECT_FALSE(IsOpen(dropped));
}

TEST(UniqueFd, ReleaseHandsTheNumberOver) {
  UniqueFd fd = OpenSomething();
  const int number = fd.Release();
  EXPECT_FALSE(fd.valid());
  fd.Reset();
  EXPECT_TRUE(IsOpen(number));
  close(number);
}

TEST(BorrowedFd, LendingDoesNotClose) {
  const UniqueFd fd = OpenSomething();
  {
    const BorrowedFd lent = fd;
    EXPECT_EQ(lent.get(), fd.get());
  }
  EXPECT_TRUE(IsOpen(fd.get()));
  EXPECT_FALSE(BorrowedFd().valid());
}

}  // namespace
}  // namespace gofer
