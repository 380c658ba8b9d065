// What a real client sends, on real nodes and handles, with each of its bytes at its extremes:
// whatever it comes to mean, it is answered as it should be, and nothing outside is touched.

#include <fcntl.h>

#include <cstring>
#include <string>

#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/golden/golden_requests.h"
#include "test/hostile/hostile_fuse.h"

namespace gofer::fuse {
namespace {

using testing::FuseRequest;

class FuseExtremes : public HostileFuseTest {
 protected:
  // Serves it whatever it is; FuseClient would wait for a lock that nobody gives up.
  void Send(const std::string& message) {
    FuseRequest request(message, 8192);
    Scratch& scratch = client().scratch();
    Outcome outcome = world_.session->Serve(request, Serving::kInline, scratch);
    if (outcome.kind == Outcome::Kind::kWouldBlock) {
      outcome = world_.session->Serve(request, Serving::kWorker, scratch);
    }
    if (outcome.kind == Outcome::Kind::kDeferred) {
      world_.session->CancelDeferred();
      outcome.written = request.Wait();
    }
    ASSERT_TRUE(request.GuardIntact());
    if (outcome.written == 0) return;
    OutHeader header;
    memcpy(&header, request.reply(outcome.written).data(), sizeof(header));
    ASSERT_EQ(header.len, outcome.written);
    ASSERT_TRUE(header.error <= 0 && header.error > -512) << header.error;
    ASSERT_TRUE(header.error == 0 || header.len == sizeof(header));
  }
};

TEST_F(FuseExtremes, EveryByteOfEveryRequest) {
  for (const golden::Request& golden : golden::ReadRequests()) {
    if (golden.opcode == Opcode::kInit) continue;
    std::string message = golden.bytes;
    const NodeId d = client().Walk("d");
    memcpy(message.data() + offsetof(InHeader, nodeid), &d, sizeof(d));
    for (size_t at = 0; at < message.size(); ++at) {
      for (const unsigned char byte : {0x00, 0x01, 0x2f, 0x7f, 0x80, 0xff}) {
        std::string changed = message;
        changed[at] = static_cast<char>(byte);
        Send(changed);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_F(FuseExtremes, EveryPairOfNodeAndHandle) {
  const NodeId nodes[] = {NodeId::kRoot, client().Walk("d"), client().Walk("d/f"),
                          client().Walk("pipe"), client().Walk("abs")};
  const HandleId handles[] = {client().Opendir(nodes[0]), client().Open(nodes[2], O_RDWR),
                              client().Opendir(nodes[1]), HandleId::kNone};
  for (const golden::Request& golden : golden::ReadRequests()) {
    if (golden.opcode == Opcode::kInit || golden.opcode == Opcode::kForget) continue;
    for (const NodeId node : nodes) {
      for (const HandleId handle : handles) {
        for (const size_t place : {0, 8}) {
          std::string message = golden.bytes;
          memcpy(message.data() + offsetof(InHeader, nodeid), &node, sizeof(node));
          const size_t at = sizeof(InHeader) + place;
          if (message.size() < at + sizeof(handle)) continue;
          memcpy(message.data() + at, &handle, sizeof(handle));
          if (golden.opcode == Opcode::kRelease || golden.opcode == Opcode::kReleasedir) continue;
          Send(message);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

}  // namespace
}  // namespace gofer::fuse
