// The window changes while the server reads it, at full speed: whatever name the server checked is
// the name it uses. A checked name can lead nowhere else; one that is looked at twice could.
// Attacks.

#include <atomic>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "gofer/base/byte_writer.h"
#include "lisafs/wire/requests.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"
#include "test/support/mapped_again.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

constexpr int kRounds = 20'000;

class WindowDoubleFetch : public HostileTest {
 protected:
  WindowDoubleFetch()
      : session_(std::make_unique<Session>(server_, Via::kChannel)),
        way_(session_->client().channel_way(0)),
        again_(way_.window()) {}

  void TearDown() override {
    session_.reset();
    HostileTest::TearDown();
  }

  // Writes a request, lets `flip` change the window at full speed while the server has it, and
  // gives the errno.
  template <typename Encode, typename Flip>
  void Run(MessageId id, Encode encode, Flip flip, int rounds = kRounds) {
    std::atomic<bool> done{false};
    std::thread flipper([&] {
      for (uint32_t i = 0; !done.load(std::memory_order_relaxed); ++i) flip(i);
    });
    for (int i = 0; i < rounds; ++i) {
      gofer::ByteWriter writer(way_.request());
      encode(writer);
      const ChannelHeader header = {.message = id, .num_fds = 0, .pad = 0};
      std::memcpy(way_.window().data() + sizeof(PacketHeader), &header, sizeof(header));
      way_.data_len().store(static_cast<uint32_t>(sizeof(header) + writer.size()),
                            std::memory_order_relaxed);
      ASSERT_EQ(ErrorOf(way_.PassTurn()), 0);
      while (gofer::sys::ReceiveFd(way_.fd_socket()).ok()) {
      }
    }
    done = true;
    flipper.join();
  }

  // A byte of the payload, written as a peer writes it.
  void Put(size_t offset, char byte) {
    std::byte* const payload = again_.data() + (way_.request().data() - way_.window().data());
    reinterpret_cast<std::atomic<char>*>(payload + offset)->store(byte, std::memory_order_relaxed);
  }

  std::unique_ptr<Session> session_;
  ChannelWay& way_;
  const gofer::testing::MappedAgain again_;
};

TEST_F(WindowDoubleFetch, NameTurnsIntoAPathOut) {
  // "ab/beside" as a name is refused, "abXbeside" is fine; ".." and "aa" likewise.
  constexpr size_t kName = sizeof(CreateCommon) + sizeof(uint16_t);
  Run(
      MessageId::kMkdirAt,
      [this](gofer::ByteWriter& writer) {
        EncodeNamed(MkdirAtReq{.fixed = {.dir_fd = session_->root(),
                                         .uid = kNoId,
                                         .gid = kNoId,
                                         .mode = 0755,
                                         .pad0 = 0,
                                         .pad1 = 0},
                               .name = "aaXbeside"},
                    writer);
      },
      [this](uint32_t i) {
        const char* const text = i % 2 == 0 ? "../beside" : "aaXbeside";
        for (size_t k = 0; k < 3; ++k) Put(kName + k, text[k]);
      });
  // What was made are names of one component, each made of bytes that were there at some moment.
  for (const auto& [name, line] : tree_.Snapshot()) {
    if (name.rfind("served/", 0) != 0) continue;
    const std::string made = name.substr(7);
    EXPECT_EQ(made.find('/'), std::string::npos);
    EXPECT_EQ(made.size(), 9u);
    EXPECT_EQ(made.substr(3), "beside");
  }
  ExpectBesideUntouched();
}

TEST_F(WindowDoubleFetch, IdTurnsIntoAnother) {
  const FdId file = session_->Create("file", "text").control_fd;
  Run(
      MessageId::kWalkStat,
      [this](gofer::ByteWriter& writer) {
        const absl::string_view path[] = {"file"};
        EncodeWalkReq(session_->root(), path, writer);
      },
      [&](uint32_t i) { Put(0, static_cast<char>(i % 2 == 0 ? file : session_->root())); });
}

TEST_F(WindowDoubleFetch, CountsAndLengthsGrow) {
  // A count of names and the lengths of names, at all values.
  Run(
      MessageId::kWalkStat,
      [this](gofer::ByteWriter& writer) {
        const absl::string_view path[] = {"", "a", "b", "c"};
        EncodeWalkReq(session_->root(), path, writer);
      },
      [this](uint32_t i) {
        Put(8, static_cast<char>(i));
        Put(9, static_cast<char>(i >> 8));
        Put(10, static_cast<char>(i >> 3));
        Put(11, static_cast<char>(i >> 5));
      });
}

TEST_F(WindowDoubleFetch, WriteLengthGrows) {
  const FdId open = session_->Open(session_->Create("file", "").control_fd, 2);
  Run(
      MessageId::kPWrite,
      [&](gofer::ByteWriter& writer) {
        writer.Write(PWriteReqFixed{.offset = 0, .fd = open, .num_bytes = 8});
        writer.WriteBytes("datadata");
      },
      [this](uint32_t i) {
        Put(16, static_cast<char>(i));
        Put(17, static_cast<char>(i >> 8));
        Put(18, static_cast<char>(i >> 10));
        Put(20, static_cast<char>(i));  // the data itself may change: it is the client's own
      });
  EXPECT_LE(tree_.Stat("served/file").st_size, 8) << "never more than was in the datagram";
}

TEST_F(WindowDoubleFetch, ReplyIsNotReadBack) {
  // The reply's own bytes change while it is written: that may only confuse the client.
  Run(
      MessageId::kOpenAt,
      [this](gofer::ByteWriter& writer) {
        writer.Write(OpenAtReq{.fd = session_->root(), .flags = 0, .pad = 0});
      },
      [this](uint32_t i) {
        Put(0, static_cast<char>(i));
        Put(1, static_cast<char>(i >> 8));
      },
      /*rounds=*/3000);
}

}  // namespace
}  // namespace lisafs
