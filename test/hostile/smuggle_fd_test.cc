// Descriptors that a client sends along, as many as the kernel takes, on every socket: none is
// kept, and requests are answered as if there were none. Attacks.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::CountOpenFds;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

constexpr size_t kMostFds = 253;

class SmuggleFd : public HostileTest {};

// Sends bytes with as many copies of a descriptor as the kernel lets through.
ssize_t SendWithFds(int socket, const void* bytes, size_t size, int fd) {
  std::vector<char> control(CMSG_SPACE(kMostFds * sizeof(int)));
  struct iovec part = {.iov_base = const_cast<void*>(bytes), .iov_len = size};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  struct cmsghdr* const record = CMSG_FIRSTHDR(&message);
  record->cmsg_level = SOL_SOCKET;
  record->cmsg_type = SCM_RIGHTS;
  record->cmsg_len = CMSG_LEN(kMostFds * sizeof(int));
  for (size_t i = 0; i < kMostFds; ++i)
    std::memcpy(CMSG_DATA(record) + i * sizeof(int), &fd, sizeof(int));
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

TEST_F(SmuggleFd, WithEveryMessageOnTheMainSocket) {
  const UniqueFd gift(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Session session(server_, Via::kSocket);
  const int socket = session.client().socket_way().fd().get();
  const size_t before = CountOpenFds();
  for (int round = 0; round < 4; ++round) {
    for (uint16_t id = 0; id < 40; ++id) {
      if (id == static_cast<uint16_t>(MessageId::kChannel))
        continue;  // those descriptors are ours to keep
      if (id == static_cast<uint16_t>(MessageId::kMount)) continue;
      const SocketHeader header = {.payload_len = 0, .message = MessageId{id}, .pad = 0};
      ASSERT_EQ(SendWithFds(socket, &header, sizeof(header), gift.get()),
                static_cast<ssize_t>(sizeof(header)));
      Must(session.client().socket_way().ReceiveReply({.id = MessageId{id}}));
    }
  }
  EXPECT_EQ(CountOpenFds(), before);
  EXPECT_EQ(ErrorOf(session->FStat(session.root())), 0);
}

TEST_F(SmuggleFd, WithEveryPieceOfARequest) {
  const UniqueFd gift(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Session session(server_, Via::kSocket);
  const size_t before = CountOpenFds();
  struct {
    SocketHeader header;
    FdId fd;
  } const request = {
      .header = {.payload_len = sizeof(FdId), .message = MessageId::kFStat, .pad = 0},
      .fd = session.root()};
  const int socket = session.client().socket_way().fd().get();
  for (int i = 0; i < 20; ++i) {
    const char* const bytes = reinterpret_cast<const char*>(&request);
    for (size_t at = 0; at < sizeof(request); ++at)
      ASSERT_EQ(SendWithFds(socket, bytes + at, 1, gift.get()), 1);
    EXPECT_EQ(Must(session.client().socket_way().ReceiveReply({.id = MessageId::kFStat})).id,
              MessageId::kFStat);
  }
  EXPECT_EQ(CountOpenFds(), before);
}

TEST_F(SmuggleFd, OnTheDescriptorSocketOfAChannel) {
  const UniqueFd gift(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Session session(server_, Via::kChannel);
  ChannelWay& way = session.client().channel_way(0);
  const size_t before = CountOpenFds();
  const char byte = 0;
  for (int i = 0; i < 50; ++i) {
    SendWithFds(way.fd_socket().get(), &byte, 1, gift.get());
    SendWithFds(way.fd_socket().get(), &byte, 0, gift.get());
    EXPECT_EQ(ErrorOf(session->FStat(session.root())), 0);
  }
  EXPECT_EQ(CountOpenFds(), before);
}

}  // namespace
}  // namespace lisafs
