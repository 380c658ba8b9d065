#include "gofer/sys/stream.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>

#include "glog/logging.h"
#include "gofer/sys/event_fd.h"
#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

std::span<const std::byte> BytesOf(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

class StreamTest : public ::testing::TestWithParam<bool> {
 protected:
  StreamTest() {
    signal(SIGPIPE, SIG_IGN);
    int ends[2];
    PCHECK((GetParam() ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)
                       : pipe2(ends, O_CLOEXEC)) == 0);
    read_ = UniqueFd(ends[0]);
    write_ = UniqueFd(ends[1]);
  }

  UniqueFd read_;
  UniqueFd write_;
  const EventFd given_up_ = *EventFd::Create();
};

INSTANTIATE_TEST_SUITE_P(Over, StreamTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Socket" : "Pipe"; });

TEST_P(StreamTest, WhatIsWrittenIsRead) {
  const std::string text(3'000'000, 'x');  // more than either has room for
  std::thread writer([&] {
    EXPECT_TRUE(WriteStream(write_, BytesOf(text), given_up_.fd()).ok());
    write_.Reset();
  });
  const ErrnoOr<std::string> got = ReadStream(read_, text.size(), given_up_.fd());
  writer.join();
  ASSERT_TRUE(got.ok()) << got.error().ToString();
  EXPECT_EQ(*got, text);
}

TEST_P(StreamTest, MoreThanTheLimitIsRefused) {
  std::thread writer([&] {
    EXPECT_TRUE(WriteStream(write_, BytesOf("12345"), given_up_.fd()).ok());
    write_.Reset();
  });
  EXPECT_EQ(ReadStream(read_, 4, given_up_.fd()).error(), EFBIG);
  writer.join();
}

TEST_P(StreamTest, APeerThatDoesNothingIsGivenUp) {
  std::thread other([&] { given_up_.Raise(); });
  EXPECT_EQ(WriteStream(write_, BytesOf(std::string(3'000'000, 'x')), given_up_.fd()).error(),
            ECANCELED);
  EXPECT_EQ(ReadStream(read_, 1, given_up_.fd()).error(), ECANCELED);
  other.join();
}

TEST_P(StreamTest, APeerThatHasGoneIsAnError) {
  read_.Reset();
  EXPECT_EQ(WriteStream(write_, BytesOf("text"), given_up_.fd()).error(), EPIPE);
}

}  // namespace
}  // namespace gofer::sys
