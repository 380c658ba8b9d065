// LOOKUP of a known name, GETATTR, READ and WRITE allocate nothing per request: every malloc of the
// process is counted, after a warm-up.

#include <fcntl.h>

#include <functional>
#include <string>

#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/allocation/counter.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseClient;
using testing::FuseRequest;
using testing::FuseWorld;
using testing::Terminated;

constexpr int kWarmUp = 600;
constexpr int kRounds = 2000;

class FuseAllocation : public ::testing::Test {
 protected:
  FuseAllocation() {
    world_.tree.Mkdir("d");
    world_.tree.Write("d/f", std::string(65536, 'x'));
    world_.Restart({});
    d_ = client().Walk("d");
    f_ = client().Walk("d/f");
    fh_ = client().Open(f_, O_RDWR);
  }
  void SetUp() override {
    if (!testing::CountsAllocations()) GTEST_SKIP() << "a sanitizer has replaced malloc";
  }
  FuseClient& client() { return *world_.client; }

  // The same request again and again, in pages as a guest cuts it.
  void ExpectNone(const char* what, Opcode opcode, NodeId node, const std::string& args,
                  size_t room) {
    FuseRequest request(client().Message(opcode, node, args), sizeof(OutHeader) + room, 4096);
    size_t served = 0;
    const auto serve = [&] {
      Outcome outcome = world_.session->Serve(request, Serving::kInline, client().scratch());
      if (outcome.kind == Outcome::Kind::kWouldBlock) {
        outcome = world_.session->Serve(request, Serving::kWorker, client().scratch());
      }
      served += outcome.written == sizeof(OutHeader) + room;
    };
    for (int i = 0; i < kWarmUp; ++i) serve();
    const size_t before = testing::Allocations();
    for (int i = 0; i < kRounds; ++i) serve();
    EXPECT_EQ(testing::Allocations() - before, 0u) << what << ", in " << kRounds << " requests";
    EXPECT_EQ(served, size_t{kWarmUp + kRounds}) << what;
  }

  FuseWorld world_;
  NodeId d_ = NodeId::kNone;
  NodeId f_ = NodeId::kNone;
  HandleId fh_ = HandleId::kNone;
};

TEST_F(FuseAllocation, NoneInTheHotRequests) {
  ExpectNone("LOOKUP", Opcode::kLookup, d_, Terminated("f"), sizeof(EntryOut));
  ExpectNone("GETATTR", Opcode::kGetattr, f_, Bytes(GetattrIn{}), sizeof(AttrOut));
  GetattrIn by_handle = {};
  by_handle.getattr_flags = kGetattrFh;
  by_handle.fh = fh_;
  ExpectNone("GETATTR of a handle", Opcode::kGetattr, f_, Bytes(by_handle), sizeof(AttrOut));
  for (const uint32_t size : {4096u, 65536u}) {
    ReadIn read = {};
    read.fh = fh_;
    read.size = size;
    ExpectNone("READ", Opcode::kRead, f_, Bytes(read), size);
    WriteIn write = {};
    write.fh = fh_;
    write.size = size;
    ExpectNone("WRITE", Opcode::kWrite, f_, Bytes(write) + std::string(size, 'x'),
               sizeof(WriteOut));
  }
}

}  // namespace
}  // namespace gofer::fuse
