#include "gofer/sys/pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    out = UniqueFd(ends[0]);
    in = UniqueFd(ends[1]);
  }
  void Write(const std::string& text) const {
    ASSERT_EQ(write(in.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  UniqueFd out;
  UniqueFd in;
};

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

TEST(Pipe, WhatIsPeekedAtStays) {
  const Pipe pipe;
  EXPECT_EQ(*PeekPipe(pipe.out, kNoLimit), "");
  pipe.Write("one");
  pipe.Write("two");
  EXPECT_EQ(*PeekPipe(pipe.out, kNoLimit), "onetwo");
  EXPECT_EQ(*PeekPipe(pipe.out, 6), "onetwo");
  EXPECT_EQ(PeekPipe(pipe.out, 5).error(), EFBIG);
  EXPECT_EQ(*DrainPipe(pipe.out, 4), "onet");
  EXPECT_EQ(*PeekPipe(pipe.out, kNoLimit), "wo");
}

TEST(Pipe, ItsEndIsTheEndOfWhatIsInIt) {
  Pipe pipe;
  pipe.Write("last");
  pipe.in.Reset();
  EXPECT_EQ(*PeekPipe(pipe.out, kNoLimit), "last");
  EXPECT_EQ(*DrainPipe(pipe.out, kNoLimit), "last");
  EXPECT_EQ(*DrainPipe(pipe.out, kNoLimit), "");
}

// Every slot in use, by stretches of different sizes, and more slots than a new pipe has.
TEST(Pipe, AFullOneIsSeenWhole) {
  const Pipe pipe;
  ASSERT_GT(fcntl(pipe.in.get(), F_SETPIPE_SZ, 512 * 1024), 0);
  std::string written;
  for (size_t size = 4000;; size = size == 4000 ? 4096 : 4000) {
    const std::string piece(size, static_cast<char>('a' + written.size() % 26));
    const ssize_t put = write(pipe.in.get(), piece.data(), piece.size());
    if (put < 0) break;
    written.append(piece, 0, static_cast<size_t>(put));
  }
  ASSERT_GT(written.size(), 256u * 1024);
  EXPECT_EQ(*PeekPipe(pipe.out, kNoLimit), written);
  EXPECT_EQ(*DrainPipe(pipe.out, kNoLimit), written);
}

TEST(Pipe, WhatDoesNotFitMakesItLarger) {
  const Pipe pipe;
  std::string bytes(300 * 1024, 'x');
  bytes.back() = 'y';
  pipe.Write("before ");
  ASSERT_TRUE(FillPipe(pipe.in, bytes).ok());
  EXPECT_EQ(*DrainPipe(pipe.out, kNoLimit), "before " + bytes);
}

}  // namespace
}  // namespace gofer::sys
