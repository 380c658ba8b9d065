// Payloads: every strict prefix of every message, counts and lengths that lie, sizes that wrap.
// Each is answered by its errno, and the connection goes on. Attacks.

#include <cstring>
#include <string>
#include <vector>

#include "lisafs/wire/message_id.h"
#include "lisafs/wire/structs.h"
#include "test/golden/golden.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class LisafsDecode : public HostileTest {};

struct Request {
  MessageId id;
  std::string payload;
};

// A request of every message, from the golden file.
std::vector<Request> Requests() {
  std::vector<Request> requests;
  for (const golden::Vector& vector : golden::ReadVectors()) {
    if (vector.direction != "request") continue;
    for (size_t id = 0; id < kNumMessageIds; ++id) {
      if (MessageName(static_cast<MessageId>(id)) != vector.message) continue;
      requests.push_back({.id = static_cast<MessageId>(id),
                          .payload = std::string(reinterpret_cast<const char*>(vector.bytes.data()),
                                                 vector.bytes.size())});
    }
  }
  EXPECT_GE(requests.size(), 33u);
  return requests;
}

TEST_F(LisafsDecode, EveryStrictPrefixOfEveryMessageIsEio) {
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    for (const Request& request : Requests()) {
      const int wanted = request.id == MessageId::kFlush ? EOPNOTSUPP : EIO;
      for (size_t size = 0; size < request.payload.size(); ++size) {
        EXPECT_EQ(Must(session->Raw(request.id, absl::string_view(request.payload).substr(0, size)))
                      .error(),
                  wanted)
            << MessageName(request.id) << ", prefix of " << size << " bytes";
      }
    }
  }
}

TEST_F(LisafsDecode, EveryByteAtItsExtremes) {
  Session session(server_, Via::kChannel);
  for (const Request& request : Requests()) {
    if (request.id == MessageId::kChannel) continue;  // a client has but four
    for (size_t at = 0; at < request.payload.size(); ++at) {
      for (const unsigned char byte : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        std::string payload = request.payload;
        payload[at] = static_cast<char>(byte);
        const RawReply reply = Must(session->Raw(request.id, payload));
        ASSERT_TRUE(reply.id == request.id || reply.id == MessageId::kError);
      }
    }
  }
}

TEST_F(LisafsDecode, LyingCounts) {
  Session session(server_, Via::kSocket);
  const FdId root = session.root();
  const auto with_count = [](absl::string_view head, uint16_t count, absl::string_view tail) {
    std::string payload(head);
    payload.append(reinterpret_cast<const char*>(&count), sizeof(count));
    payload.append(tail.data(), tail.size());
    return payload;
  };
  const absl::string_view root_bytes(reinterpret_cast<const char*>(&root), sizeof(root));
  for (const uint16_t count : {2, 255, 256, 32767, 32768, 65535}) {
    // Arrays of ids, of names; a name's own length.
    EXPECT_EQ(Must(session->Raw(MessageId::kClose, with_count("", count, root_bytes))).error(), EIO)
        << count;
    EXPECT_EQ(Must(session->Raw(MessageId::kFSync, with_count("", count, root_bytes))).error(), EIO)
        << count;
    const std::string one_name("\1\0x", 3);
    EXPECT_EQ(Must(session->Raw(MessageId::kWalk, with_count(root_bytes, count, one_name))).error(),
              EIO)
        << count;
    EXPECT_EQ(
        Must(session->Raw(MessageId::kWalkStat, with_count(root_bytes, count, one_name))).error(),
        EIO);
    const std::string one = with_count(root_bytes, 1, with_count("", count, "x"));
    EXPECT_EQ(Must(session->Raw(MessageId::kWalk, one)).error(), EIO) << count;
  }
  // As many names as a count can say, each empty.
  EXPECT_EQ(Must(session->Raw(MessageId::kWalk,
                              with_count(root_bytes, 65535, std::string(2 * 65535, '\0'))))
                .error(),
            EIO)
      << "the reply would not fit";
}

TEST_F(LisafsDecode, SizesThatWrap) {
  tree_.Write("served/f", "text");
  Session session(server_, Via::kChannel);
  const FdId open = session.Open(session.Walk("f").control_fd, 2);
  const auto raw = [&](MessageId id, const auto& request) {
    return Must(session->Raw(id, std::as_bytes(std::span(&request, 1)))).error();
  };
  for (const uint32_t count : {kMaxReadBytes + 1, 0x7fffffffu, 0xfffffff8u, UINT32_MAX}) {
    EXPECT_EQ(raw(MessageId::kPRead, PReadReq{.offset = 0, .fd = open, .count = count, .pad = 0}),
              ENOBUFS);
    EXPECT_EQ(raw(MessageId::kPWrite, PWriteReqFixed{.offset = 0, .fd = open, .num_bytes = count}),
              EIO);
  }
  for (const uint64_t offset : {uint64_t{1} << 63, UINT64_MAX, UINT64_MAX - 3}) {
    EXPECT_EQ(raw(MessageId::kPRead, PReadReq{.offset = offset, .fd = open, .count = 4, .pad = 0}),
              EINVAL);
    EXPECT_NE(raw(MessageId::kFAllocate,
                  FAllocateReq{.fd = open, .mode = 0, .offset = offset, .length = 4}),
              0);
    EXPECT_NE(raw(MessageId::kFAllocate,
                  FAllocateReq{.fd = open, .mode = 0, .offset = 4, .length = offset}),
              0);
    EXPECT_NE(raw(MessageId::kFAllocate,
                  FAllocateReq{.fd = open, .mode = offset, .offset = 0, .length = 4}),
              0);
  }
  EXPECT_EQ(session.Read(open, 100), "text");
}

}  // namespace
}  // namespace lisafs
