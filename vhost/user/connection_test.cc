#include "vhost/user/connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "gofer/base/unique_fd.h"
#include "gofer/sys/event_fd.h"
#include "gtest/gtest.h"
#include "test/support/temp_tree.h"

namespace gofer::vhost::user {
namespace {

class ConnectionTest : public ::testing::Test {
 protected:
  ConnectionTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[0]);
    connection_ = std::make_unique<Connection>(UniqueFd(fds[1]));
  }

  static std::vector<std::byte> Frame(MessageId id, uint32_t flags, size_t payload_size) {
    const MessageHeader header = {
        .id = id, .flags = flags, .size = static_cast<uint32_t>(payload_size)};
    std::vector<std::byte> frame(sizeof(header) + payload_size, std::byte{0xab});
    std::memcpy(frame.data(), &header, sizeof(header));
    return frame;
  }

  void Send(std::span<const std::byte> bytes, size_t num_fds = 0) const {
    std::vector<int> fds(num_fds);
    for (int& fd : fds) fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    std::vector<std::byte> control(CMSG_SPACE(num_fds * sizeof(int)));
    struct iovec part = {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    struct msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (num_fds > 0) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      struct cmsghdr* const record = CMSG_FIRSTHDR(&message);
      record->cmsg_level = SOL_SOCKET;
      record->cmsg_type = SCM_RIGHTS;
      record->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
      std::memcpy(CMSG_DATA(record), fds.data(), num_fds * sizeof(int));
    }
    ASSERT_EQ(sendmsg(peer_.get(), &message, MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    for (const int fd : fds) close(fd);
  }

  UniqueFd peer_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(ConnectionTest, MessagesOneByOne) {
  std::vector<std::byte> both = Frame(MessageId::kSetFeatures, kVersion, 8);
  const std::vector<std::byte> second =
      Frame(MessageId::kGetFeatures, kVersion | kNeedReplyFlag, 0);
  both.insert(both.end(), second.begin(), second.end());
  Send(both);
  const auto first = connection_->Receive();
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->header.id, MessageId::kSetFeatures);
  EXPECT_EQ(first->payload.size(), 8u);
  EXPECT_EQ(first->payload[7], std::byte{0xab});
  EXPECT_FALSE(first->needs_reply());
  const auto next = connection_->Receive();
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->header.id, MessageId::kGetFeatures);
  EXPECT_TRUE(next->needs_reply());
}

TEST_F(ConnectionTest, ByteByByte) {
  const std::vector<std::byte> frame = Frame(MessageId::kSetMemTable, kVersion, 72);
  std::thread sender([&] {
    for (size_t i = 0; i < frame.size(); ++i) Send(std::span(frame).subspan(i, 1), i == 0 ? 2 : 0);
  });
  const auto message = connection_->Receive();
  sender.join();
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(message->payload.size(), 72u);
  EXPECT_EQ(message->fds.size(), 2u);
}

// Section 24, trap 4: a byte too many would take the next message's descriptors away.
TEST_F(ConnectionTest, DescriptorsStayWithTheirMessage) {
  for (int i = 0; i < 3; ++i) {
    Send(Frame(MessageId::kSetVringKick, kVersion, 8), 1);
    Send(Frame(MessageId::kGetFeatures, kVersion, 0));
  }
  for (int i = 0; i < 3; ++i) {
    const auto kick = connection_->Receive();
    ASSERT_TRUE(kick.ok());
    ASSERT_EQ(kick->fds.size(), 1u);
    EXPECT_NE(fcntl(kick->fds[0].get(), F_GETFD) & FD_CLOEXEC, 0);
    const auto features = connection_->Receive();
    ASSERT_TRUE(features.ok());
    EXPECT_EQ(features->fds.size(), 0u);
  }
}

TEST_F(ConnectionTest, DescriptorsThatNobodyTookAreClosed) {
  const size_t before = testing::CountOpenFds();
  for (int i = 0; i < 10; ++i) {
    Send(Frame(MessageId::kGetFeatures, kVersion, 0), 8);
    ASSERT_TRUE(connection_->Receive().ok());
  }
  Send(Frame(MessageId::kGetFeatures, kVersion, 0));
  ASSERT_TRUE(connection_->Receive().ok());
  EXPECT_EQ(testing::CountOpenFds(), before);
}

TEST_F(ConnectionTest, MoreDescriptorsThanAnyMessageHasEndIt) {
  for (const size_t count : {33u, 64u, 253u}) {
    ConnectionTest::SetUp();
    const size_t before = testing::CountOpenFds();
    Send(Frame(MessageId::kGetFeatures, kVersion, 0), count);
    EXPECT_TRUE(absl::IsInvalidArgument(connection_->Receive().status())) << count;
    Send(Frame(MessageId::kGetFeatures, kVersion, 0));
    EXPECT_TRUE(connection_->Receive().ok());
    EXPECT_EQ(testing::CountOpenFds(), before);
  }
}

TEST_F(ConnectionTest, DescriptorsInAPayloadEndIt) {
  const size_t before = testing::CountOpenFds();
  const std::vector<std::byte> frame = Frame(MessageId::kSetFeatures, kVersion, 8);
  Send(std::span(frame).first(12));
  Send(std::span(frame).subspan(12), 1);
  EXPECT_TRUE(absl::IsInvalidArgument(connection_->Receive().status()));
  EXPECT_EQ(testing::CountOpenFds(), before);
}

TEST_F(ConnectionTest, FlagsOfARequestOfVersionOne) {
  for (const uint32_t flags : {0u, 2u, 3u, kVersion | kReplyFlag, 0xffffffffu}) {
    Send(Frame(MessageId::kGetFeatures, flags, 0));
    EXPECT_TRUE(absl::IsInvalidArgument(connection_->Receive().status())) << flags;
  }
}

TEST_F(ConnectionTest, PayloadOverTheLimitEndsItUnread) {
  for (const uint32_t size : {uint32_t{kMaxPayload} + 1, 0x80000000u, 0xffffffffu}) {
    const MessageHeader header = {.id = MessageId::kSetConfig, .flags = kVersion, .size = size};
    Send(std::as_bytes(std::span(&header, 1)));
    EXPECT_TRUE(absl::IsInvalidArgument(connection_->Receive().status())) << size;
  }
  Send(Frame(MessageId{1000}, kVersion, kMaxPayload));
  EXPECT_TRUE(connection_->Receive().ok());
}

TEST_F(ConnectionTest, EndOfFileAtEveryByte) {
  const std::vector<std::byte> frame = Frame(MessageId::kSetVringAddr, kVersion, 40);
  for (size_t n = 0; n < frame.size(); ++n) {
    int fds[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    peer_ = UniqueFd(fds[0]);
    Connection connection{UniqueFd(fds[1])};
    if (n > 0) Send(std::span(frame).first(n), 1);
    peer_.Reset();
    EXPECT_TRUE(absl::IsUnavailable(connection.Receive().status())) << n;
  }
}

TEST_F(ConnectionTest, ReplyIsOneFrameWithItsDescriptor) {
  const UniqueFd file(open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(connection_->Reply(MessageId::kGetInflightFd, InflightArea{}, file).ok());
  std::byte bytes[64];
  char control[CMSG_SPACE(sizeof(int))];
  struct iovec part = {.iov_base = bytes, .iov_len = sizeof(bytes)};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(recvmsg(peer_.get(), &message, MSG_CMSG_CLOEXEC), 12 + 24);
  MessageHeader header;
  std::memcpy(&header, bytes, sizeof(header));
  EXPECT_EQ(header.id, MessageId::kGetInflightFd);
  EXPECT_EQ(header.flags, 5u);
  EXPECT_EQ(header.size, 24u);
  ASSERT_NE(CMSG_FIRSTHDR(&message), nullptr);
  int fd;
  std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
  close(fd);
}

TEST_F(ConnectionTest, ReplyToNobodyIsAnErrorAndNoSignal) {
  peer_.Reset();
  EXPECT_TRUE(absl::IsUnavailable(connection_->Reply(MessageId::kGetFeatures, uint64_t{0})));
}

TEST_F(ConnectionTest, HangUpIsSeenBehindWhatIsStillUnread) {
  EXPECT_FALSE(connection_->HasHungUp());
  Send(Frame(MessageId::kGetFeatures, kVersion, 0));
  EXPECT_FALSE(connection_->HasHungUp());
  peer_.Reset();
  EXPECT_TRUE(connection_->HasHungUp());
  EXPECT_TRUE(connection_->Receive().ok());
}

TEST_F(ConnectionTest, AnEventEndsTheWaitForAMessage) {
  auto event = sys::EventFd::Create();
  ASSERT_TRUE(event.ok());
  Send(Frame(MessageId::kGetFeatures, kVersion, 0));
  EXPECT_FALSE(connection_->WaitForMessage(event->fd()).value());
  event->Raise();
  EXPECT_TRUE(connection_->WaitForMessage(event->fd()).value());
}

TEST_F(ConnectionTest, ShutDownEndsReceive) {
  std::thread receiver([&] { EXPECT_TRUE(absl::IsUnavailable(connection_->Receive().status())); });
  connection_->ShutDown();
  receiver.join();
}

}  // namespace
}  // namespace gofer::vhost::user
