// The traps of spec/lisafs.md s.12 that lie in the encoding, one test each under its number there:
// what the server writes and reads, byte for byte. Bytes of all messages are in //test/golden.

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "lisafs/wire/structs.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;
using gofer::testing::Via;

constexpr Owner kNobody = {.uid = kNoId, .gid = kNoId};

class EncodingTraps : public testing::Test {
 protected:
  EncodingTraps() : server_(tree_), session_(server_, Via::kSocket) {}
  FdId root() { return session_.root(); }

  TempTree tree_;
  TestServer server_;
  Session session_;
};

// Builds payloads by hand, without the wire library.
class Bytes {
 public:
  template <typename T>
  Bytes& Add(T value) {
    const auto* const from = reinterpret_cast<const char*>(&value);
    bytes_.append(from, sizeof(value));
    return *this;
  }
  Bytes& String(absl::string_view text) {
    Add(static_cast<uint16_t>(text.size()));
    bytes_.append(text.data(), text.size());
    return *this;
  }
  Bytes& Raw(absl::string_view text) {
    bytes_.append(text.data(), text.size());
    return *this;
  }
  operator absl::string_view() const { return bytes_; }  // NOLINT: it is what it is for

 private:
  std::string bytes_;
};

template <typename T>
T At(const std::string& payload, size_t offset) {
  T value;
  CHECK_LE(offset + sizeof(T), payload.size());
  std::memcpy(&value, payload.data() + offset, sizeof(T));
  return value;
}

TEST_F(EncodingTraps, T15_NothingIsAligned) {
  // PWrite's head has 20 bytes, OpenCreateAt's 28, UnlinkAt's 12.
  const RawReply created = Must(session_->Raw(MessageId::kOpenCreateAt, Bytes()
                                                                            .Add(root())
                                                                            .Add(kNoId)
                                                                            .Add(kNoId)
                                                                            .Add(uint16_t{0644})
                                                                            .Add(uint16_t{0})
                                                                            .Add(0u)
                                                                            .Add(2u)
                                                                            .String("f")));
  ASSERT_EQ(created.error(), 0);
  const FdId open = At<FdId>(created.payload, 152);
  EXPECT_EQ(Must(session_->Raw(MessageId::kPWrite,
                               Bytes().Add(uint64_t{0}).Add(open).Add(5u).Raw("hello")))
                .error(),
            0);
  EXPECT_EQ(tree_.Read("f"), "hello");
  EXPECT_EQ(
      Must(session_->Raw(MessageId::kUnlinkAt, Bytes().Add(root()).Add(0u).String("f"))).error(),
      0);
  EXPECT_FALSE(tree_.Exists("f"));
}

TEST_F(EncodingTraps, T16_MinorBeforeMajorInDirents) {
  session_.Create("f", "");
  const Statx stat = Must(session_->FStat(session_.Walk("f").control_fd));
  const FdId open = session_.Open(root(), 0);
  const std::string payload =
      Must(session_->Raw(MessageId::kGetdents64, Bytes().Add(open).Add(int32_t{-65536}).Add(0u)))
          .payload;
  ASSERT_EQ(At<uint16_t>(payload, 0), 1);
  EXPECT_EQ(At<uint64_t>(payload, 2), stat.ino);
  EXPECT_EQ(At<uint32_t>(payload, 10), stat.dev_minor);
  EXPECT_EQ(At<uint32_t>(payload, 14), stat.dev_major);
}

TEST_F(EncodingTraps, T17_StatxEndsAfterTheDevice) {
  EXPECT_EQ(Must(session_->Raw(MessageId::kFStat, Bytes().Add(root()))).payload.size(), 144u);
}

TEST_F(EncodingTraps, T18_ErrorHasFourBytes) {
  const RawReply reply = Must(session_->Raw(MessageId::kFStat, Bytes().Add(FdId{99})));
  EXPECT_EQ(reply.id, MessageId::kError);
  EXPECT_EQ(reply.payload, std::string("\x09\0\0\0", 4));
}

TEST_F(EncodingTraps, T19_RenameAt2FlagsComeAfterTheStrings) {
  session_.Create("a", "");
  session_.Create("b", "");
  const auto rename = [&](uint32_t flags) {
    return Must(session_->Raw(MessageId::kRenameAt2,
                              Bytes().Add(root()).Add(root()).String("a").String("b").Add(flags)))
        .error();
  };
  EXPECT_EQ(rename(1), EEXIST);
  EXPECT_EQ(Must(session_->Raw(MessageId::kRenameAt2,
                               Bytes().Add(root()).Add(root()).String("a").String("b")))
                .error(),
            EIO)
      << "without flags";
  EXPECT_EQ(rename(0), 0);
}

TEST_F(EncodingTraps, T20_SymlinkSendsTheNameFirstAndLinkTheDirectory) {
  EXPECT_EQ(
      Must(session_->Raw(MessageId::kSymlinkAt,
                         Bytes().Add(root()).Add(kNoId).Add(kNoId).String("name").String("target")))
          .error(),
      0);
  EXPECT_TRUE(tree_.Exists("name"));
  const FdId target = session_.Create("f", "").control_fd;
  EXPECT_EQ(Must(session_->Raw(MessageId::kLinkAt, Bytes().Add(root()).Add(target).String("hard")))
                .error(),
            0);
  EXPECT_TRUE(tree_.Exists("hard"));
}

TEST_F(EncodingTraps, T21_OffsetComesBeforeTheId) {
  const FdId open = session_.Open(session_.Create("f", "0123456789").control_fd, 0);
  const RawReply reply =
      Must(session_->Raw(MessageId::kPRead, Bytes().Add(uint64_t{4}).Add(open).Add(3u).Add(0u)));
  EXPECT_EQ(At<uint64_t>(reply.payload, 0), 3u);
  EXPECT_EQ(reply.payload.substr(8), "456");
}

TEST_F(EncodingTraps, T22_WalkStatusIsOneByteThenAnUnalignedCount) {
  session_.Mkdir("d");
  const RawReply reply = Must(session_->Raw(
      MessageId::kWalk, Bytes().Add(root()).Add(uint16_t{2}).String("d").String("missing")));
  ASSERT_EQ(reply.payload.size(), 3 + 152u);
  EXPECT_EQ(At<uint8_t>(reply.payload, 0), 1);
  EXPECT_EQ(At<uint16_t>(reply.payload, 1), 1);
}

TEST_F(EncodingTraps, T23_FlagsAreLinuxNumbers) {
  const Inode file = session_.Create("f", "text");
  session_.Open(file.control_fd, 0x201);
  EXPECT_EQ(tree_.Stat("f").st_size, 0) << "O_TRUNC is 0x200";
  session_.Mkdir("d");
  EXPECT_EQ(ErrorOf(session_->UnlinkAt(root(), "d", 0x200)), 0) << "AT_REMOVEDIR is 0x200";
  EXPECT_EQ(ErrorOf(session_->MkdirAt(root(), "d", 0755, kNobody)), 0);
}

}  // namespace
}  // namespace lisafs
