// The client against a peer that is played by hand, for what an honest server never sends, and
// against our server for how it chooses its ways. What it is good for otherwise is shown by every
// test in //test.

#include "lisafs/client/client.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "gtest/gtest.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

std::pair<UniqueFd, UniqueFd> SocketPair() {
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// Answers one request, whatever it is, with these bytes, and hangs up.
class OneReply {
 public:
  OneReply(uint32_t announced, MessageId id, std::string payload) {
    auto [client, server] = SocketPair();
    client_ = std::make_unique<Client>(std::move(client));
    thread_ =
        std::thread([socket = std::move(server), announced, id, payload = std::move(payload)] {
          char request[4096];
          if (recv(socket.get(), request, sizeof(request), 0) <= 0) return;
          const SocketHeader header = {.payload_len = announced, .message = id, .pad = 0};
          send(socket.get(), &header, sizeof(header), MSG_NOSIGNAL);
          send(socket.get(), payload.data(), payload.size(), MSG_NOSIGNAL);
        });
  }
  ~OneReply() {
    client_->ShutDown();
    thread_.join();
  }
  Client* operator->() { return client_.get(); }

 private:
  std::unique_ptr<Client> client_;
  std::thread thread_;
};

TEST(Client, ErrorRepliesGiveTheirErrno) {
  OneReply peer(4, MessageId::kError, std::string("\x7a\0\0\0", 4));
  EXPECT_EQ(ErrorOf(peer->FStat(FdId{1})), EDQUOT);
}

TEST(Client, RepliesThatMakeNoSense) {
  struct {
    const char* what;
    uint32_t announced;
    MessageId id;
    std::string payload;
    int error;
  } const cases[] = {
      {"another message's", 144, MessageId::kSetStat, std::string(144, '\0'), EBADMSG},
      {"an error without a number", 0, MessageId::kError, "", EBADMSG},
      {"too short", 143, MessageId::kFStat, std::string(143, '\0'), EBADMSG},
      {"longer than anything", 0xffffffff, MessageId::kFStat, "", EBADMSG},
      {"cut off", 144, MessageId::kFStat, "half", ESHUTDOWN},
  };
  for (const auto& one : cases) {
    OneReply peer(one.announced, one.id, one.payload);
    EXPECT_EQ(ErrorOf(peer->FStat(FdId{1})), one.error) << one.what;
  }
}

TEST(Client, MoreThanWasAskedForIsRefused) {
  std::string two_inodes("\0\2\0", 3);
  two_inodes.append(2 * sizeof(Inode), '\0');
  OneReply walk(static_cast<uint32_t>(two_inodes.size()), MessageId::kWalk, two_inodes);
  Inode inode;
  EXPECT_EQ(ErrorOf(walk->Walk(FdId{1}, {"a"}, std::span(&inode, 1))), EBADMSG);

  std::string five("\5\0\0\0\0\0\0\0hello", 13);
  OneReply read(static_cast<uint32_t>(five.size()), MessageId::kPRead, five);
  std::byte four[4];
  EXPECT_EQ(ErrorOf(read->PRead(FdId{1}, four, 0)), EBADMSG);

  OneReply write(8, MessageId::kPWrite, std::string("\5\0\0\0\0\0\0\0", 8));
  EXPECT_EQ(ErrorOf(write->PWrite(FdId{1}, four, 0)), EBADMSG);
}

TEST(Client, RequiredDescriptorsMustCome) {
  OneReply peer(0, MessageId::kConnect, "");
  EXPECT_EQ(ErrorOf(peer->Connect(FdId{1}, SOCK_STREAM)), EBADMSG);
}

TEST(Client, RequestsThatCannotBeSaid) {
  const TempTree tree;
  TestServer server(tree);
  const std::unique_ptr<Client> client = server.Connect();
  EXPECT_EQ(ErrorOf(client->MkdirAt(FdId{1}, std::string(65536, 'x'), 0755, {})), EMSGSIZE);
  const std::vector<FdId> ids(65536, FdId{1});
  EXPECT_EQ(ErrorOf(client->Close(ids)), EMSGSIZE);
  const std::vector<std::byte> data(3 << 20);
  EXPECT_EQ(ErrorOf(client->PWrite(FdId{1}, data, 0)), EMSGSIZE);
  EXPECT_EQ(ErrorOf(client->Mount()), 0) << "nothing was sent";
}

TEST(Client, PicksAChannelThatLivesElseTheSocket) {
  const TempTree tree;
  TestServer server(tree);
  const std::unique_ptr<Client> client = server.Connect();
  const FdId root = Must(client->Mount()).root.control_fd;
  ASSERT_EQ(Must(client->OpenChannel()), 0u);
  ASSERT_EQ(Must(client->OpenChannel()), 1u);
  const auto last_length = [&](size_t channel) {
    return client->channel_way(channel).data_len().load();
  };
  Must(client->FStat(root));
  EXPECT_EQ(last_length(0), sizeof(ChannelHeader) + sizeof(Statx));
  client->channel_way(0).ShutDown();
  Must(client->FStat(root));
  EXPECT_EQ(last_length(1), sizeof(ChannelHeader) + sizeof(Statx));
  client->channel_way(1).ShutDown();
  EXPECT_EQ(ErrorOf(client->FStat(root)), 0);
  EXPECT_EQ(ErrorOf(client->over_channel(1).FStat(root)), ESHUTDOWN);
}

TEST(Client, SleeperOnAChannelWakesWhenTheServerGoes) {
  const TempTree tree;
  auto server = std::make_unique<TestServer>(tree);
  const std::unique_ptr<Client> client = server->Connect();
  const FdId root = Must(client->Mount()).root.control_fd;
  Must(client->OpenChannel());
  std::thread worker([&] {
    while (client->over_channel(0).FStat(root).ok()) {
    }
  });
  server.reset();
  worker.join();
  EXPECT_EQ(ErrorOf(client->over_channel(0).FStat(root)), ESHUTDOWN);
  EXPECT_EQ(ErrorOf(client->over_socket().FStat(root)), ESHUTDOWN);
  EXPECT_EQ(ErrorOf(client->OpenChannel()), ESHUTDOWN);
}

}  // namespace
}  // namespace lisafs
