// The traps of spec/lisafs.md s.12 that lie in the transport, one test each under its number there.

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
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

using gofer::UniqueFd;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;
using gofer::testing::Via;

ServerOptions Permissive() {
  ServerOptions options;
  options.host_uds = HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

class TransportTraps : public testing::Test {
 protected:
  TransportTraps() : server_(tree_, Permissive()), session_(server_, Via::kSocket) {}
  FdId root() { return session_.root(); }
  ChannelWay& OpenChannel() {
    return session_.client().channel_way(Must(session_.client().OpenChannel()));
  }

  TempTree tree_;
  TestServer server_;
  Session session_;
};

// Receives with room for descriptors, as a sentry does: how many bytes and how many descriptors
// came.
std::pair<ssize_t, size_t> ReceiveWithRoom(int socket, void* to, size_t size,
                                           std::vector<UniqueFd>& fds) {
  alignas(struct cmsghdr) char control[256];
  struct iovec part = {.iov_base = to, .iov_len = size};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket, &message, 0);
  size_t count = 0;
  for (struct cmsghdr* record = CMSG_FIRSTHDR(&message); record != nullptr;
       record = CMSG_NXTHDR(&message, record)) {
    for (size_t i = 0; i < (record->cmsg_len - CMSG_LEN(0)) / sizeof(int); ++i, ++count) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(record) + i * sizeof(int), sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  return {got, count};
}

template <typename T>
void SendFrame(int socket, MessageId id, const T& payload) {
  const SocketHeader header = {.payload_len = sizeof(T), .message = id, .pad = 0};
  ASSERT_EQ(send(socket, &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
  ASSERT_EQ(send(socket, &payload, sizeof(T), 0), static_cast<ssize_t>(sizeof(T)));
}

TEST_F(TransportTraps, T01_DescriptorsTravelWithTheFirstByteOfTheHeader) {
  const Inode file = session_.Create("f", "text");
  const int socket = session_.client().socket_way().fd().get();
  SendFrame(socket, MessageId::kOpenAt, OpenAtReq{.fd = file.control_fd, .flags = 0, .pad = 0});
  std::vector<UniqueFd> fds;
  char first;
  EXPECT_EQ(ReceiveWithRoom(socket, &first, 1, fds), (std::pair<ssize_t, size_t>(1, 1)));
  char rest[15];
  EXPECT_EQ(ReceiveWithRoom(socket, rest, sizeof(rest), fds), (std::pair<ssize_t, size_t>(15, 0)));
}

TEST_F(TransportTraps, T02_OverAChannelDescriptorsComeBeforeTheDatagram) {
  const Inode file = session_.Create("f", "text");
  ChannelWay& way = OpenChannel();
  const ChannelHeader header = {.message = MessageId::kOpenAt, .num_fds = 0, .pad = 0};
  const OpenAtReq request = {.fd = file.control_fd, .flags = 0, .pad = 0};
  std::memcpy(way.window().data() + 16, &header, sizeof(header));
  std::memcpy(way.request().data(), &request, sizeof(request));
  way.data_len() = sizeof(header) + sizeof(request);
  Must(way.PassTurn());
  // The turn is back, so it is already there: no waiting.
  EXPECT_TRUE(gofer::sys::ReceiveFd(way.fd_socket()).ok());
  EXPECT_FALSE(gofer::sys::ReceiveFd(way.fd_socket()).ok());
}

TEST_F(TransportTraps, T03_FutexIsSharedNotPrivate) {
  // The client library waits on the shared kind; a server that woke the private kind would leave it
  // asleep.
  session_.client().channel_way(Must(session_.client().OpenChannel()));
  for (int i = 0; i < 20; ++i) {
    absl::SleepFor(absl::Milliseconds(2));  // until both sides sleep
    EXPECT_EQ(ErrorOf(session_.client().over_channel(0).FStat(root())), 0);
  }
}

TEST_F(TransportTraps, T04_WakeUpsForNothing) {
  ChannelWay& way = OpenChannel();
  for (int i = 0; i < 1000; ++i) gofer::sys::FutexWake(way.state(), INT_MAX);
  EXPECT_EQ(way.state().load(), 0u) << "still the client's turn";
  EXPECT_EQ(ErrorOf(session_.client().over_channel(0).FStat(root())), 0);
}

TEST_F(TransportTraps, T05_WindowLengthCountsItsHeaderAndTheFramesDoesNot) {
  ChannelWay& way = OpenChannel();
  Must(session_.client().over_channel(0).FStat(root()));
  EXPECT_EQ(way.data_len().load(), 4 + sizeof(Statx));
  const int socket = session_.client().socket_way().fd().get();
  SendFrame(socket, MessageId::kFStat, StatReq{.fd = root()});
  SocketHeader header;
  ASSERT_EQ(recv(socket, &header, sizeof(header), MSG_WAITALL),
            static_cast<ssize_t>(sizeof(header)));
  EXPECT_EQ(header.payload_len, sizeof(Statx));
  Statx stat;
  ASSERT_EQ(recv(socket, &stat, sizeof(stat), MSG_WAITALL), static_cast<ssize_t>(sizeof(stat)));
}

TEST_F(TransportTraps, T06_HandshakeIsThreeBytesWithoutAHeader) {
  const std::unique_ptr<ChannelWay> way = Must(ChannelWay::Map(Must(session_->RequestChannel())));
  Must(way->Handshake());
  EXPECT_EQ(way->data_len().load(), 3u);
  EXPECT_EQ(std::memcmp(way->window().data() + 16, "{}\n", 3), 0);
}

TEST_F(TransportTraps, T07_ChannelRequestsOverAChannelSeveralAtOnce) {
  OpenChannel();
  std::vector<std::thread> threads;
  std::atomic<int> granted{0};
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] { granted += session_.client().OpenChannel().ok() ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(granted.load(), 3);
}

TEST_F(TransportTraps, T08_LengthIsReadOnce) {
  // The length grows and shrinks while the server looks: whatever it took is used for the whole
  // request, so the answer is that to one of the two requests, or the end of the channel, never
  // something read beyond.
  ChannelWay& way = OpenChannel();
  std::atomic<bool> done{false};
  std::thread flipper([&] {
    while (!done) {
      way.data_len().store(4, std::memory_order_relaxed);
      way.data_len().store(12, std::memory_order_relaxed);
    }
  });
  for (int i = 0; i < 20000 && way.alive(); ++i) {
    const ChannelHeader header = {.message = MessageId::kFStat, .num_fds = 0, .pad = 0};
    const FdId fd = root();
    std::memcpy(way.window().data() + 16, &header, sizeof(header));
    std::memcpy(way.request().data(), &fd, sizeof(fd));
    if (!way.PassTurn().ok()) break;
    ChannelHeader reply;
    std::memcpy(&reply, way.window().data() + 16, sizeof(reply));
    ASSERT_TRUE(reply.message == MessageId::kFStat || reply.message == MessageId::kError);
  }
  done = true;
  flipper.join();
  EXPECT_EQ(ErrorOf(session_->FStat(root())), 0);
}

TEST_F(TransportTraps, T09_MemoryCannotBeShrunk) {
  const ChannelGrant grant = Must(session_->RequestChannel());
  EXPECT_EQ(ftruncate(grant.memory.get(), 4096), -1);
  EXPECT_EQ(fcntl(grant.memory.get(), F_ADD_SEALS, F_SEAL_WRITE), -1)
      << "nor sealed further, under our mapping";
}

TEST_F(TransportTraps, T10_WindowIsWholeWhenItIsAnnounced) {
  for (int i = 0; i < 4; ++i) {
    const ChannelGrant grant = Must(session_->RequestChannel());
    struct stat stat;
    ASSERT_EQ(fstat(grant.memory.get(), &stat), 0);
    EXPECT_GE(static_cast<uint64_t>(stat.st_size),
              static_cast<uint64_t>(grant.place.data_offset) + grant.place.data_length);
    EXPECT_EQ(grant.place.data_offset % 4096, 0);
  }
}

TEST_F(TransportTraps, T11_TooLongAPayloadIsReadBeforeItIsRefused) {
  for (const size_t size :
       {size_t{kMaxMessageSize} + 1, size_t{kMaxMessageSize} + 4096, size_t{8} << 20}) {
    const SocketHeader header = {
        .payload_len = static_cast<uint32_t>(size), .message = MessageId::kFStat, .pad = 0};
    std::vector<std::byte> frame(sizeof(header) + size);
    std::memcpy(frame.data(), &header, sizeof(header));
    Must(session_.client().socket_way().SendBytes(frame));
    const Reply reply =
        Must(session_.client().socket_way().ReceiveReply({.id = MessageId::kFStat}));
    EXPECT_EQ(reply.id, MessageId::kError);
    ASSERT_EQ(reply.payload.size(), sizeof(ErrorResp));
    EXPECT_EQ(std::to_integer<int>(reply.payload[0]), EIO);
    EXPECT_EQ(ErrorOf(session_->FStat(root())), 0) << "in step";
  }
}

TEST_F(TransportTraps, T12_LargeRepliesInPiecesAndAClientThatIsGone) {
  tree_.Write("big", std::string(kMaxReadBytes, 'x'));
  const FdId open = session_.Open(session_.Walk("big").control_fd, 0);
  EXPECT_EQ(session_.Read(open, kMaxReadBytes).size(), kMaxReadBytes)
      << "more than a socket holds at once";
  // Asks for as much and closes without reading: the server must not die by SIGPIPE.
  {
    Session rude(server_, Via::kSocket);
    const FdId theirs = rude.Open(rude.Walk("big").control_fd, 0);
    SendFrame(rude.client().socket_way().fd().get(), MessageId::kPRead,
              PReadReq{.offset = 0, .fd = theirs, .count = kMaxReadBytes, .pad = 0});
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_TRUE(server_.WaitForConnections(1));
  EXPECT_EQ(ErrorOf(session_->FStat(root())), 0);
}

TEST_F(TransportTraps, T13_DonatedFifosAndSocketsDoNotBlock) {
  tree_.Fifo("pipe");
  const OpenResult pipe = Must(session_->OpenAt(session_.Walk("pipe").control_fd, 2));
  EXPECT_TRUE((fcntl(pipe.host_fd.get(), F_GETFL) & O_NONBLOCK) != 0);
  const BindResult bound = Must(
      session_->BindAt(root(), "s", SOCK_STREAM, S_IFSOCK | 0755, {.uid = kNoId, .gid = kNoId}));
  EXPECT_TRUE((fcntl(bound.socket.get(), F_GETFL) & O_NONBLOCK) != 0);
  // The client shares the socket's description and may make it blocking: Accept must still not
  // wait.
  Must(session_->Listen(bound.fd, 1));
  ASSERT_EQ(fcntl(bound.socket.get(), F_SETFL, 0), 0);
  absl::Notification answered;
  std::thread rescuer([&] {  // a server that waits is freed in the end, and the test fails
    if (answered.WaitForNotificationWithTimeout(gofer::testing::kPatience)) return;
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, tree_.At("s").data(), tree_.At("s").size());
    connect(socket.get(), reinterpret_cast<struct sockaddr*>(&address), sizeof(address));
  });
  EXPECT_EQ(ErrorOf(session_->Accept(bound.fd)), EAGAIN);
  answered.Notify();
  rescuer.join();
}

TEST_F(TransportTraps, T14_MainSocketIsNeverHalfClosed) {
  OpenChannel();
  Must(session_->FStat(root()));
  struct pollfd entry = {
      .fd = session_.client().socket_way().fd().get(), .events = POLLRDHUP | POLLIN, .revents = 0};
  EXPECT_EQ(poll(&entry, 1, 20), 0);
}

}  // namespace
}  // namespace lisafs
