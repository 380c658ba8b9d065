// Frames: extreme lengths, slow senders, unknown ids, requests out of order. The stream stays in
// step or the connection ends; nothing grows, and nobody else notices. Cuts at every byte are in
// client_death_test. Attacks.
//
// Source: spec/security.md s.3, s.7 and s.10.

#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/frames.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

// Tsan remembers what was done with each byte of ours.
#ifdef __SANITIZE_THREAD__
constexpr size_t kShadowed = 4;
#else
constexpr size_t kShadowed = 1;
#endif

class LisafsFrame : public HostileTest {};

size_t ResidentKiB() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    size_t value;
    if (word == "VmRSS:" && status >> value) return value;
  }
  return 0;
}

TEST_F(LisafsFrame, AnnouncedLengthAllocatesNothing) {
  const size_t before = ResidentKiB();
  std::vector<UniqueFd> sockets;
  for (const uint32_t length :
       {kMaxMessageSize + 1, 0x7fffffffu, 0x80000000u, 0xffffffffu, 0xffffffffu}) {
    for (int i = 0; i < 4; ++i) {
      sockets.push_back(server_.ConnectSocket());
      const SocketHeader header = {
          .payload_len = length, .message = MessageId::kPWrite, .pad = 0xffff};
      SendAll(sockets.back().get(),
              absl::string_view(reinterpret_cast<const char*>(&header), sizeof(header)));
      SendAll(sockets.back().get(), std::string(100'000, 'x'));
    }
  }
  ExpectOthersServed();
  EXPECT_LT(ResidentKiB(), before + kShadowed * (32 << 10));
}

TEST_F(LisafsFrame, TooLongAFrameIsThrownAwayInStep) {
  Session session(server_, Via::kSocket);
  for (int i = 0; i < 3; ++i) {
    std::string frame;
    AppendFrame(frame, MessageId::kFStat,
                std::string((size_t{5} << 20) + static_cast<size_t>(i), 'x'));
    SendAll(session.client().socket_way().fd().get(), frame);
    EXPECT_EQ(Must(session.client().socket_way().ReceiveReply({.id = MessageId::kFStat})).id,
              MessageId::kError);
    EXPECT_EQ(ErrorOf(session->FStat(session.root())), 0);
  }
}

TEST_F(LisafsFrame, SlowSenderDisturbsNobody) {
  const std::string stream = RecordedSession();
  const UniqueFd socket = server_.ConnectSocket();
  for (size_t i = 0; i < stream.size(); ++i) {
    SendAll(socket.get(), absl::string_view(stream).substr(i, 1));
    if (i % 40 == 0) ExpectOthersServed();
  }
  shutdown(socket.get(), SHUT_WR);
  size_t replies = 0;
  char buffer[4096];
  for (ssize_t got; (got = recv(socket.get(), buffer, sizeof(buffer), 0)) > 0;)
    replies += static_cast<size_t>(got);
  EXPECT_GT(replies, sizeof(SocketHeader) * 8);
}

TEST_F(LisafsFrame, ManyRequestsInOnePieceAreAnsweredInOrder) {
  Session session(server_, Via::kSocket);
  std::string stream;
  const FdId root = session.root();
  for (int i = 0; i < 500; ++i) {
    AppendFrame(stream, i % 2 == 0 ? MessageId::kFStat : MessageId::kFStatFS,
                absl::string_view(reinterpret_cast<const char*>(&root), sizeof(root)));
  }
  SendAll(session.client().socket_way().fd().get(), stream);
  for (int i = 0; i < 500; ++i) {
    const MessageId id = i % 2 == 0 ? MessageId::kFStat : MessageId::kFStatFS;
    EXPECT_EQ(Must(session.client().socket_way().ReceiveReply({.id = id})).id, id);
  }
}

TEST_F(LisafsFrame, EveryUnknownId) {
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    // All of them over the channel, which is the faster way.
    const int step = via == Via::kSocket ? 97 : 1;
    for (int id = kNumMessageIds; id <= 65535; id += step) {
      ASSERT_EQ(Must(session->Raw(static_cast<MessageId>(id), "")).error(), EOPNOTSUPP) << id;
    }
  }
}

TEST_F(LisafsFrame, WrongOrderIsHarmless) {
  const std::unique_ptr<Client> client = server_.Connect();
  for (size_t id = 3; id < kNumMessageIds; ++id) {
    const RawReply reply = Must(client->Raw(static_cast<MessageId>(id), std::string(100, '\0')));
    EXPECT_NE(reply.id, MessageId::kMount);
  }
  Must(client->OpenChannel());
  Must(client->over_channel(0).Mount());
  Must(client->over_socket().Mount());
  EXPECT_EQ(ErrorOf(client->FStat(FdId{1})), 0);
}

TEST_F(LisafsFrame, ClientThatReadsNothingStopsOnlyItself) {
  tree_.Write("served/big", std::string(1 << 20, 'x'));
  Session session(server_, Via::kSocket);
  const FdId open = session.Open(session.Walk("big").control_fd, 0);
  const PReadReq request = {.offset = 0, .fd = open, .count = 1 << 20, .pad = 0};
  std::string stream;
  for (int i = 0; i < 100; ++i) {
    AppendFrame(stream, MessageId::kPRead,
                absl::string_view(reinterpret_cast<const char*>(&request), sizeof(request)));
  }
  SendAll(session.client().socket_way().fd().get(), stream);
  absl::SleepFor(absl::Milliseconds(20));
  ExpectOthersServed();
  tree_.Mkdir("served/d");
  Must(honest_->RenameAt(honest_.root(), "d", honest_.root(), "e"));
}

}  // namespace
}  // namespace lisafs
