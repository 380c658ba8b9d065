#include "fuse/wire/reply.h"

#include <cstring>
#include <string>
#include <vector>

#include "fuse/wire/buffers.h"
#include "fuse/wire/dirent_writer.h"
#include "gtest/gtest.h"

namespace gofer::fuse {
namespace {

// Memory in pieces of the given sizes, each followed by a guard byte.
class Pieces {
 public:
  explicit Pieces(const std::vector<size_t>& sizes) {
    size_t total = 0;
    for (const size_t size : sizes) total += size + 1;
    memory_.assign(total, '\x5a');
    size_t at = 0;
    for (const size_t size : sizes) {
      iovecs_.push_back({.iov_base = memory_.data() + at, .iov_len = size});
      at += size + 1;
    }
  }
  std::span<const struct iovec> iovecs() const { return iovecs_; }
  std::string Joined() const {
    std::string joined;
    for (const struct iovec& iovec : iovecs_) {
      joined.append(static_cast<const char*>(iovec.iov_base), iovec.iov_len);
      EXPECT_EQ(static_cast<const char*>(iovec.iov_base)[iovec.iov_len], '\x5a') << "guard";
    }
    return joined;
  }

 private:
  std::string memory_;
  std::vector<struct iovec> iovecs_;
};

std::span<const std::byte> AsBytes(absl::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST(Buffers, CopyAcrossEveryCut) {
  const std::string text = "0123456789abcdef";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const Pieces pieces({cut, 0, text.size() - cut});
    Buffers in(pieces.iovecs());
    EXPECT_EQ(in.CopyIn(AsBytes(text.substr(0, 5))), 5u);
    EXPECT_EQ(in.CopyIn(AsBytes(text.substr(5))), text.size() - 5);
    EXPECT_EQ(in.CopyIn(AsBytes("more")), 0u);
    EXPECT_EQ(pieces.Joined(), text);
    Buffers out(pieces.iovecs());
    std::string read(10, ' ');
    EXPECT_EQ(out.Skip(3), 3u);
    EXPECT_EQ(out.CopyOut(std::as_writable_bytes(std::span(read))), 10u);
    EXPECT_EQ(read, text.substr(3, 10));
    EXPECT_EQ(out.CopyOut(std::as_writable_bytes(std::span(read))), 3u);
    EXPECT_EQ(out.Skip(1), 0u);
  }
}

TEST(Buffers, SlicesLeaveEmptyPiecesOut) {
  const Pieces pieces({0, 3, 0, 0, 5, 2});
  Buffers buffers(pieces.iovecs());
  struct iovec room[8];
  Buffers::Taken taken = buffers.Slice(4, room);
  ASSERT_EQ(taken.iovecs.size(), 2u);
  EXPECT_EQ(taken.size, 4u);
  EXPECT_EQ(taken.iovecs[0].iov_len, 3u);
  EXPECT_EQ(taken.iovecs[1].iov_len, 1u);
  taken = buffers.Slice(100, std::span(room).first(1));
  ASSERT_EQ(taken.iovecs.size(), 1u) << "no more than there is room for";
  EXPECT_EQ(taken.size, 4u);
  taken = buffers.Slice(100, room);
  EXPECT_EQ(taken.size, 2u);
  EXPECT_EQ(buffers.Slice(100, room).size, 0u);
}

TEST(Buffers, TotalSizeSaturates) {
  const struct iovec huge[] = {{.iov_base = nullptr, .iov_len = SIZE_MAX - 1},
                               {.iov_base = nullptr, .iov_len = 2}};
  EXPECT_EQ(TotalSize(huge), SIZE_MAX);
  EXPECT_EQ(TotalSize({}), 0u);
}

TEST(Reply, IsTheSameHoweverTheRoomIsCut) {
  for (size_t cut = 0; cut <= 40; ++cut) {
    const Pieces pieces({cut, 40 - cut});
    Reply reply(pieces.iovecs());
    reply.Write(WriteOut{.size = 0x01020304, .padding = 0});
    reply.WriteBytes("text");
    EXPECT_TRUE(reply.ok());
    EXPECT_EQ(reply.Finish(0x1122334455667788), 28u);
    EXPECT_EQ(pieces.Joined().substr(0, 28),
              std::string("\x1c\0\0\0\0\0\0\0\x88\x77\x66\x55\x44\x33\x22\x11"
                          "\4\3\2\1\0\0\0\0text",
                          28));
  }
}

TEST(Reply, AnErrorIsAHeaderAlone) {
  const Pieces pieces({64});
  Reply reply(pieces.iovecs());
  reply.WriteBytes("half an answer");
  EXPECT_EQ(reply.Fail(Errno(ENOENT), 7), 16u);
  EXPECT_EQ(pieces.Joined().substr(0, 16),
            std::string("\x10\0\0\0\xfe\xff\xff\xff\7\0\0\0\0\0\0\0", 16));
}

TEST(Reply, WritesNothingThatDoesNotFit) {
  for (size_t room = 0; room < 24; ++room) {
    const Pieces pieces({room});
    Reply reply(pieces.iovecs());
    EXPECT_EQ(reply.HasRoomFor(0), room >= 16);
    EXPECT_FALSE(reply.HasRoomFor(8));
    EXPECT_FALSE(reply.HasRoomFor(SIZE_MAX));
    reply.Write(WriteOut{});
    EXPECT_FALSE(reply.ok());
    EXPECT_EQ(reply.Fail(Errno(EINVAL), 1), room >= 16 ? 16u : 0u);
    pieces.Joined();
  }
}

TEST(Reply, DataGoesBehindTheHeader) {
  const Pieces pieces({10, 10, 10});
  Reply reply(pieces.iovecs());
  struct iovec room[4];
  const Buffers::Taken taken = reply.Slice(9, room);
  ASSERT_EQ(taken.iovecs.size(), 2u);
  std::memcpy(taken.iovecs[0].iov_base, "abcd", 4);
  std::memcpy(taken.iovecs[1].iov_base, "efghi", 5);
  reply.Advance(taken.size);
  EXPECT_EQ(reply.remaining(), 5u);
  EXPECT_EQ(reply.Finish(1), 25u);
  EXPECT_EQ(pieces.Joined().substr(16, 9), "abcdefghi");
}

TEST(DirentWriter, PadsWithZeroesAndKnowsWhatFits) {
  const Pieces pieces({16 + 24 + 8 + 24 + 8});
  Reply reply(pieces.iovecs());
  DirentWriter writer(reply, 24 + 8 + 24 + 8);
  EXPECT_TRUE(writer.Fits<Dirent>("12345678"));
  writer.Write(Dirent{.ino = 1, .off = 2, .namelen = 0, .type = 8}, "abc");
  EXPECT_TRUE(writer.Fits<Dirent>("12345678"));
  EXPECT_FALSE(writer.Fits<Dirent>("123456789"));
  EXPECT_FALSE(writer.Fits<Direntplus>(""));
  writer.Write(Dirent{.ino = 3, .off = 4, .namelen = 0, .type = 4}, "12345678");
  EXPECT_FALSE(writer.Fits<Dirent>(""));
  EXPECT_TRUE(reply.ok());
  const std::string body = pieces.Joined().substr(16);
  EXPECT_EQ(body.substr(16, 16), std::string("\3\0\0\0\x8\0\0\0abc\0\0\0\0\0", 16));
  EXPECT_EQ(body.substr(32 + 16), std::string("\x8\0\0\0\4\0\0\0", 8) + "12345678");
}

}  // namespace
}  // namespace gofer::fuse
