// A client that changes a request while it is served, and one whose request and reply are the same
// memory: what was checked is what is used.

#include <fcntl.h>

#include <atomic>
#include <cstring>
#include <set>
#include <string>
#include <thread>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_fuse.h"
#include "test/support/eventually.h"

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseRequest;
using testing::Terminated;

class FuseDoubleFetch : public HostileFuseTest {};

// Writes one of two texts of a length into the request, by turns, as fast as it can.
class Flipper {
 public:
  Flipper(std::string& message, size_t offset, const std::string& a, const std::string& b)
      : thread_([this, &message, offset, a, b] {
          for (size_t i = 0; !done_; ++i) {
            const std::string& text = i % 2 == 0 ? a : b;
            for (size_t at = 0; at < text.size(); ++at) {
              __atomic_store_n(message.data() + offset + at, text[at], __ATOMIC_RELAXED);
            }
          }
        }) {}
  ~Flipper() {
    done_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

#if defined(__SANITIZE_THREAD__)
constexpr int kRounds = 0;  // the race is the point of it
#else
constexpr int kRounds = 30000;
#endif

TEST_F(FuseDoubleFetch, NamesThatChangeToOnesThatLeadOut) {
  if (kRounds == 0) GTEST_SKIP() << "races on purpose";
  const NodeId d = client().Walk("d");
  // Both are as long; one is no name, and mixtures of both are what there is in between.
  FuseRequest request(
      client().Message(Opcode::kMkdir, d,
                       Bytes(MkdirIn{.mode = 0755, .umask = 0}) + Terminated("aaaaaaaaa")),
      4096);
  const Flipper flipper(request.message(), sizeof(InHeader) + sizeof(MkdirIn), "aaaaaaaaa",
                        "../beside");
  int made = 0;
  int refused = 0;
  // And on until both have come through: either thread may get no processor for a while.
  const absl::Time deadline = absl::Now() + testing::kPatience;
  for (int i = 0; i < kRounds || ((made == 0 || refused == 0) && absl::Now() < deadline); ++i) {
    const Outcome outcome = world_.session->Serve(request, Serving::kInline, client().scratch());
    ASSERT_EQ(outcome.kind, Outcome::Kind::kDone);
    OutHeader header;
    memcpy(&header, request.reply(outcome.written).data(), sizeof(header));
    ASSERT_TRUE(header.error == 0 || header.error == -EEXIST || header.error == -EINVAL)
        << header.error;
    made += header.error == 0;
    refused += header.error == -EINVAL;
    if (header.error == 0) client().Call(Opcode::kRmdir, d, Terminated("aaaaaaaaa"));
  }
  EXPECT_GT(made, 0) << "the other name has to come through too";
  EXPECT_GT(refused, 0);
}

TEST_F(FuseDoubleFetch, SizesThatChange) {
  if (kRounds == 0) GTEST_SKIP() << "races on purpose";
  const CreateOut made = client().Create(NodeId::kRoot, "g", O_RDWR);
  WriteIn in = {};
  in.fh = made.open.fh;
  in.size = 4;
  FuseRequest request(client().Message(Opcode::kWrite, made.entry.nodeid, Bytes(in) + "text"),
                      4096);
  const uint32_t small = 4;
  const uint32_t large = 0x7fffffff;
  const Flipper flipper(request.message(), sizeof(InHeader) + offsetof(WriteIn, size), Bytes(small),
                        Bytes(large));
  for (int i = 0; i < kRounds; ++i) {
    const Outcome outcome = world_.session->Serve(request, Serving::kWorker, client().scratch());
    OutHeader header;
    memcpy(&header, request.reply(outcome.written).data(), sizeof(header));
    ASSERT_TRUE(header.error == 0 || header.error == -EINVAL) << header.error;
  }
  EXPECT_LE(world_.tree.Stat("served/g").st_size, 4);
}

TEST_F(FuseDoubleFetch, HeadersThatChange) {
  if (kRounds == 0) GTEST_SKIP() << "races on purpose";
  FuseRequest request(client().Message(Opcode::kGetattr, NodeId::kRoot, Bytes(GetattrIn{})), 4096);
  const uint32_t real = request.message().size();
  const uint32_t lie = 0x00100000;
  const Flipper flipper(request.message(), offsetof(InHeader, len), Bytes(real), Bytes(lie));
  for (int i = 0; i < kRounds; ++i) {
    const Outcome outcome = world_.session->Serve(request, Serving::kInline, client().scratch());
    ASSERT_TRUE(outcome.written == 16 || outcome.written == 120) << outcome.written;
    ASSERT_TRUE(request.GuardIntact());
  }
}

// The same buffer for both: the reply overwrites the request, which has been read by then.
TEST_F(FuseDoubleFetch, RequestAndReplyInOnePlace) {
  struct Overlapping final : Request {
    Overlapping(const std::string& message, size_t shift)
        : memory(8192, '\0'),
          in_iovec{memory.data() + shift, message.size()},
          out_iovec{memory.data(), memory.size()} {
      memcpy(memory.data() + shift, message.data(), message.size());
      in = std::span(&in_iovec, 1);
      out = std::span(&out_iovec, 1);
    }
    void Complete(size_t) override {}
    std::string memory;
    struct iovec in_iovec;
    struct iovec out_iovec;
  };
  const NodeId f = client().Walk("d/f");
  const HandleId fh = client().Open(f, O_RDWR);
  ReadIn read = {};
  read.fh = fh;
  read.size = 100;
  for (size_t shift = 0; shift < 64; ++shift) {
    Overlapping request(client().Message(Opcode::kRead, f, Bytes(read)), shift);
    const Outcome outcome = world_.session->Serve(request, Serving::kWorker, client().scratch());
    EXPECT_EQ(request.memory.substr(16, outcome.written - 16), "text");
    Overlapping lookup(client().Message(Opcode::kLookup, client().Walk("d"), Terminated("f")),
                       shift);
    EXPECT_EQ(world_.session->Serve(lookup, Serving::kInline, client().scratch()).written, 144u);
    EntryOut entry;
    memcpy(&entry, lookup.memory.data() + 16, sizeof(entry));
    EXPECT_EQ(entry.nodeid, f);
    // A write takes its data from where the reply will be: after it, or what it says of itself.
    WriteIn write = {};
    write.fh = fh;
    write.size = 4;
    Overlapping writing(client().Message(Opcode::kWrite, f, Bytes(write) + "text"), shift);
    EXPECT_EQ(world_.session->Serve(writing, Serving::kInline, client().scratch()).written, 24u);
    EXPECT_EQ(world_.tree.Read("served/d/f"), "text");
  }
}

}  // namespace
}  // namespace gofer::fuse
