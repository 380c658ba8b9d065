// Channels, as a client and a hostile one see them. Rows 1 to 7 of spec/lisafs.md s.11.3 and its
// traps 2 to 11 and 14.

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gofer/sys/futex.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/wire/structs.h"
#include "test/support/eventually.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Eventually;
using gofer::testing::Must;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr uint32_t kShutDown = 2;

class Channels : public testing::Test {
 protected:
  Channels() : server_(tree_), client_(server_.Connect()) {
    root_ = Must(client_->Mount()).root.control_fd;
  }

  void ExpectMainSocketWorks() { EXPECT_EQ(ErrorOf(client_->over_socket().FStat(root_)), 0); }
  ChannelWay& Open() { return client_->channel_way(Must(client_->OpenChannel())); }

  TempTree tree_;
  TestServer server_;
  std::unique_ptr<Client> client_;
  FdId root_;
};

TEST_F(Channels, FourAreGrantedThenEnomem) {
  for (int64_t i = 0; i < 4; ++i) {
    const ChannelGrant grant = Must(client_->RequestChannel());
    EXPECT_EQ(grant.place.data_offset, i * (2 << 20));
    EXPECT_EQ(grant.place.data_length, 2u << 20);
  }
  EXPECT_EQ(ErrorOf(client_->RequestChannel()), ENOMEM);
  EXPECT_EQ(ErrorOf(client_->RequestChannel()), ENOMEM);
  ExpectMainSocketWorks();
}

TEST_F(Channels, MemoryIsSealedAgainstShrinkingAndLongEnough) {
  const ChannelGrant grant = Must(client_->RequestChannel());
  const int seals = fcntl(grant.memory.get(), F_GET_SEALS);
  EXPECT_EQ(seals & (F_SEAL_SEAL | F_SEAL_SHRINK), F_SEAL_SEAL | F_SEAL_SHRINK);
  EXPECT_EQ(ftruncate(grant.memory.get(), 0), -1);
  EXPECT_EQ(errno, EPERM);
  char name[128];
  const ssize_t size =
      readlink(absl::StrCat("/proc/self/fd/", grant.memory.get()).c_str(), name, sizeof(name));
  ASSERT_GT(size, 0);
  EXPECT_EQ(std::string(name, static_cast<size_t>(size)),
            "/memfd:flipcall_packet_windows (deleted)");
  struct stat stat;
  ASSERT_EQ(fstat(grant.memory.get(), &stat), 0);
  EXPECT_GE(stat.st_size, grant.place.data_offset + static_cast<int64_t>(grant.place.data_length));
  EXPECT_GE(grant.place.data_length, 20u + kMaxMessageSize);
}

TEST_F(Channels, DescriptorSocketIsSeqpacket) {
  const ChannelGrant grant = Must(client_->RequestChannel());
  int type = 0;
  socklen_t size = sizeof(type);
  ASSERT_EQ(getsockopt(grant.fd_socket.get(), SOL_SOCKET, SO_TYPE, &type, &size), 0);
  EXPECT_EQ(type, SOCK_SEQPACKET);
}

TEST_F(Channels, MayBeAskedForOverAChannelAndInParallel) {
  Open();
  std::vector<std::thread> threads;
  std::atomic<int> granted{0};
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([this, &granted] { granted += client_->OpenChannel().ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted.load(), 3) << "four are given to each connection";
  for (size_t i = 0; i < client_->num_channels(); ++i) {
    EXPECT_EQ(ErrorOf(client_->over_channel(i).FStat(root_)), 0) << "channel " << i;
  }
}

TEST_F(Channels, HandshakeTakesAnyJsonObject) {
  const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(Must(client_->RequestChannel())));
  const std::string hello = "{\"some_option\": [1, {}]}\n";
  std::memcpy(way->window().data() + 16, hello.data(), hello.size());
  way->data_len() = static_cast<uint32_t>(hello.size());
  ASSERT_EQ(ErrorOf(way->PassTurn()), 0);
  EXPECT_EQ(way->data_len().load(), 3u);
  EXPECT_EQ(std::memcmp(way->window().data() + 16, "{}\n", 3), 0);
}

TEST_F(Channels, HandshakeThatIsNoObjectEndsTheChannel) {
  for (const absl::string_view hello : {"", "[]\n", "hello", "{"}) {
    const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(Must(client_->RequestChannel())));
    if (!hello.empty()) std::memcpy(way->window().data() + 16, hello.data(), hello.size());
    way->data_len() = static_cast<uint32_t>(hello.size());
    EXPECT_EQ(ErrorOf(way->PassTurn()), ESHUTDOWN) << "'" << hello << "'";
  }
  ExpectMainSocketWorks();
}

TEST_F(Channels, DescriptorCountOfARequestMeansNothing) {
  ChannelWay& way = Open();
  const ChannelHeader header = {.message = MessageId::kFStat, .num_fds = 3, .pad = 0};
  std::memcpy(way.window().data() + 16, &header, sizeof(header));
  std::memcpy(way.request().data(), &root_, sizeof(root_));
  way.data_len() = sizeof(header) + sizeof(root_);
  ASSERT_EQ(ErrorOf(way.PassTurn()), 0);
  ChannelHeader reply;
  std::memcpy(&reply, way.window().data() + 16, sizeof(reply));
  EXPECT_EQ(reply.message, MessageId::kFStat);
  EXPECT_EQ(reply.num_fds, 0);
  EXPECT_EQ(way.data_len().load(), sizeof(reply) + sizeof(Statx));
}

TEST_F(Channels, MalformedDatagramEndsThatChannelAndTellsTheClient) {
  const uint32_t capacity = (2 << 20) - 16;
  for (const uint32_t length : {0u, 3u, capacity + 1, UINT32_MAX}) {
    ChannelWay& way = Open();
    way.data_len() = length;
    EXPECT_EQ(ErrorOf(way.PassTurn()), ESHUTDOWN) << "data length " << length;
    EXPECT_EQ(way.state().load(), kShutDown);
    ExpectMainSocketWorks();
  }
}

TEST_F(Channels, DatagramThatFillsTheWindowIsTooLongAMessage) {
  ChannelWay& way = Open();
  const ChannelHeader header = {.message = MessageId::kFStat, .num_fds = 0, .pad = 0};
  std::memcpy(way.window().data() + 16, &header, sizeof(header));
  way.data_len() = (2 << 20) - 16;
  ASSERT_EQ(ErrorOf(way.PassTurn()), 0);
  ChannelHeader reply;
  std::memcpy(&reply, way.window().data() + 16, sizeof(reply));
  EXPECT_EQ(reply.message, MessageId::kError);
  ErrorResp error;
  std::memcpy(&error, way.request().data(), sizeof(error));
  EXPECT_EQ(error.errno_value, static_cast<uint32_t>(EIO));
  EXPECT_EQ(ErrorOf(client_->over_channel(0).FStat(root_)), 0) << "the channel goes on";
}

TEST_F(Channels, StateThatIsNoneEndsThatChannel) {
  ChannelWay& way = Open();
  way.state() = 7;
  gofer::sys::FutexWake(way.state(), 1);
  EXPECT_TRUE(Eventually([&] { return way.state() == kShutDown; })) << way.state().load();
  ExpectMainSocketWorks();
}

TEST_F(Channels, WakeUpsForNothingAreHarmless) {
  ChannelWay& way = Open();
  std::atomic<bool> done{false};
  std::thread waker([&] {
    while (!done) {
      gofer::sys::FutexWake(way.state(), 1);
      std::this_thread::yield();
    }
  });
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(ErrorOf(client_->over_channel(0).FStat(root_)), 0);
  done = true;
  waker.join();
}

TEST_F(Channels, EndWithTheMainSocket) {
  for (const int how : {SHUT_WR, SHUT_RDWR}) {
    std::unique_ptr<Client> client = server_.Connect();
    std::vector<std::unique_ptr<ChannelWay>> ways;
    for (int i = 0; i < 3; ++i) {
      ways.push_back(Must(ChannelWay::Map(Must(client->RequestChannel()))));
      Must(ways.back()->Handshake());
    }
    shutdown(client->socket_way().fd().get(), how);
    EXPECT_TRUE(server_.WaitForConnections(1)) << "only this test's own is left";
    for (const auto& way : ways) EXPECT_EQ(way->state().load(), kShutDown);
  }
  ExpectMainSocketWorks();
}

TEST_F(Channels, DescriptorsTravelOnTheirOwnSocketBeforeTheReply) {
  tree_.Write("file", "text");
  ChannelWay& way = Open();
  Inode inode;
  Must(client_->over_channel(0).Walk(root_, {"file"}, std::span(&inode, 1)));
  const ChannelHeader header = {.message = MessageId::kOpenAt, .num_fds = 0, .pad = 0};
  const OpenAtReq request = {.fd = inode.control_fd, .flags = 0, .pad = 0};
  std::memcpy(way.window().data() + 16, &header, sizeof(header));
  std::memcpy(way.request().data(), &request, sizeof(request));
  way.data_len() = sizeof(header) + sizeof(request);
  ASSERT_EQ(ErrorOf(way.PassTurn()), 0);
  ChannelHeader reply;
  std::memcpy(&reply, way.window().data() + 16, sizeof(reply));
  EXPECT_EQ(reply.num_fds, 1);
  // One empty message with exactly one descriptor: a control length of 20.
  alignas(struct cmsghdr) char control[128];
  char byte;
  struct iovec part = {.iov_base = &byte, .iov_len = 1};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ASSERT_EQ(recvmsg(way.fd_socket().get(), &message, MSG_DONTWAIT), 0);
  const struct cmsghdr* const record = CMSG_FIRSTHDR(&message);
  ASSERT_NE(record, nullptr);
  EXPECT_EQ(record->cmsg_type, SCM_RIGHTS);
  EXPECT_EQ(record->cmsg_len, 20u);
  int fd;
  std::memcpy(&fd, CMSG_DATA(record), sizeof(fd));
  const gofer::UniqueFd donated(fd);
  char text[4];
  EXPECT_EQ(pread(donated.get(), text, sizeof(text), 0), 4);
}

TEST_F(Channels, AllFourAndTheSocketServeInParallel) {
  const std::string big(4 << 20, 'x');
  tree_.Write("big", big);
  for (int i = 0; i < 4; ++i) Open();
  Inode inode;
  Must(client_->Walk(root_, {"big"}, std::span(&inode, 1)));
  const FdId open = Must(client_->OpenAt(inode.control_fd, 0)).fd;
  std::vector<std::thread> readers;
  for (size_t i = 0; i < 4; ++i) {
    readers.emplace_back([&, i] {
      std::vector<std::byte> buffer(1 << 20);
      for (int round = 0; round < 8; ++round) {
        EXPECT_EQ(Must(client_->over_channel(i).PRead(open, buffer, (round % 4) << 20)),
                  buffer.size());
      }
    });
  }
  for (int i = 0; i < 200; ++i) ExpectMainSocketWorks();
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace lisafs
