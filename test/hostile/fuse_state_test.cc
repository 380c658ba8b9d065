// Requests out of their order, and node ids and handles that were never given, were given back, or
// are of another kind: an errno each, and no other file is ever touched. Attacks.
//
// Source: spec/security.md s.10 fuse_state_test; spec/vhost-user-fs.md s.11, rows 24 to 26 and 29,
// 30; spec/fuse.md s.1.3, s.2 and s.6.

#include <fcntl.h>

#include <cstring>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "fuse/wire/abi.h"
#include "fuse/wire/opcode.h"
#include "gtest/gtest.h"
#include "test/hostile/fuse_requests.h"
#include "test/hostile/hostile_guest.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::vhost {
namespace {

using driver::FuseClient;
using driver::Machine;
using driver::Slot;
using fuse::HandleId;
using fuse::InHeader;
using fuse::NodeId;
using fuse::Opcode;
using RawReply = FuseClient::RawReply;

class FuseStateTest : public HostileGuestTest {
 protected:
  void SetUp() override {
    Boot();
    files_ = SetUpFiles(client());
    requests_ = EveryRequest(files_);
    before_ = tree_.Snapshot();
  }
  void ExpectAllRefused(std::set<int> errors) {
    for (const OddRequest& request : requests_) {
      SCOPED_TRACE(fuse::OpcodeName(request.opcode));
      const RawReply reply = Must(client().Raw(request.Header(), request.arguments));
      if (request.has_reply) {
        EXPECT_TRUE(errors.contains(reply.error)) << "error " << reply.error;
      } else {
        EXPECT_EQ(reply.written, 0u);
      }
    }
    EXPECT_EQ(tree_.Snapshot(), before_);
  }

  Files files_;
  std::vector<OddRequest> requests_;
  std::map<std::string, std::string> before_;
};

TEST_F(FuseStateTest, NothingIsServedAfterDestroy) {
  Must(client().Destroy());
  ExpectAllRefused({EIO});
  Must(client().Destroy());
  Must(client().Init());
  EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
}

TEST_F(FuseStateTest, NothingIsServedBeforeInit) {
  driver::MachineOptions options = Small();
  options.vmm = driver::Vmm::kQemu10;  // which resets the device
  Boot(options);
  Must(machine().Reboot());
  ExpectAllRefused({EIO});
}

// What was given under one INIT is worth nothing under the next.
TEST_F(FuseStateTest, ASecondInitForgetsEverything) {
  Must(client().Init());
  for (const OddRequest& request : requests_) {
    if (request.node == NodeId::kNone) continue;
    SCOPED_TRACE(fuse::OpcodeName(request.opcode));
    const RawReply reply = Must(client().Raw(request.Header(), request.arguments));
    if (request.has_reply) {
      EXPECT_NE(reply.error, 0);
    }
  }
  EXPECT_EQ(tree_.Snapshot(), before_);
}

TEST_F(FuseStateTest, VersionsAndFlagsOfInit) {
  EXPECT_EQ(ErrorOf(client().Init({.major = 0})), EPROTO);
  EXPECT_EQ(ErrorOf(client().Init({.major = 6, .minor = 41})), EPROTO);
  EXPECT_EQ(ErrorOf(client().Init({.minor = 26})), EPROTO);
  EXPECT_EQ(ErrorOf(client().Init({.minor = 0})), EPROTO);
  // A newer client is told what there is, and asks again.
  for (const uint32_t major : {8u, UINT32_MAX}) {
    EXPECT_EQ(Must(client().Init({.major = major})).major, fuse::kMajor);
  }
  EXPECT_EQ(Must(client().Init({.minor = UINT32_MAX})).minor, fuse::kMinor);
  const uint64_t all = UINT64_MAX;
  const auto granted = Must(client().Init({.max_readahead = UINT32_MAX, .flags = all}));
  EXPECT_GT(granted.max_write, 0u);
  const auto none = Must(client().Init({.max_readahead = 0, .flags = 0}));
  EXPECT_EQ(none.flags, 0u);
  EXPECT_EQ(none.flags2, 0u);
  Must(client().Init());
  EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
}

TEST_F(FuseStateTest, NodesThatWereNeverGiven) {
  std::set<uint64_t> forged = {0, 1ull << 31, 1ull << 32, 1ull << 63, UINT64_MAX - 1, UINT64_MAX};
  // Near those that were given: other bits, other generations, neighbours.
  std::set<uint64_t> given = {static_cast<uint64_t>(NodeId::kRoot)};
  for (const NodeId node : {files_.dir, files_.file, files_.link}) {
    given.insert(static_cast<uint64_t>(node));
    for (int bit = 0; bit < 64; ++bit) forged.insert(static_cast<uint64_t>(node) ^ 1ull << bit);
  }
  // Pointers of ours are no names either.
  forged.insert(reinterpret_cast<uint64_t>(&server_));
  for (const uint64_t node : given) forged.erase(node);
  for (const uint64_t node : forged) {
    for (OddRequest request : requests_) {
      if (!request.has_reply || request.opcode == Opcode::kStatfs ||
          request.opcode == Opcode::kSyncfs) {
        continue;
      }
      // Where the handle says all, a wrong node may be overlooked.
      if (request.handle_at != std::string::npos) continue;
      SCOPED_TRACE(absl::StrCat(fuse::OpcodeName(request.opcode), " of node ", node));
      request.node = static_cast<NodeId>(node);
      const RawReply reply = Must(client().Raw(request.Header(), request.arguments));
      EXPECT_TRUE((std::set<int>{EBADF, ESTALE, EINVAL, ENOENT}).contains(reply.error))
          << "error " << reply.error;
    }
  }
  // Nor as the second node of a request.
  for (const uint64_t node : forged) {
    const auto forged_node = static_cast<NodeId>(node);
    EXPECT_NE(ErrorOf(client().Rename(files_.dir, "file", forged_node, "moved")), 0) << node;
    EXPECT_NE(ErrorOf(client().Rename2(files_.dir, "file", forged_node, "moved", 0)), 0) << node;
    EXPECT_NE(ErrorOf(client().Link(forged_node, files_.dir, "linked")), 0) << node;
  }
  EXPECT_EQ(tree_.Snapshot(), before_);
}

TEST_F(FuseStateTest, HandlesThatWereNeverGiven) {
  std::set<uint64_t> forged = {1ull << 31, 1ull << 63, UINT64_MAX};
  for (const HandleId handle : {files_.file_handle, files_.dir_handle}) {
    for (int bit = 0; bit < 64; ++bit) forged.insert(static_cast<uint64_t>(handle) ^ 1ull << bit);
  }
  const HandleId released = Must(client().Open(files_.file, O_RDWR)).fh;
  Must(client().Release(files_.file, released));
  forged.insert(static_cast<uint64_t>(released));
  forged.insert(0);  // that of a client that never opens
  for (const HandleId handle : {files_.file_handle, files_.dir_handle}) {
    forged.erase(static_cast<uint64_t>(handle));
  }
  for (const uint64_t handle : forged) {
    for (OddRequest request : requests_) {
      if (request.handle_at == std::string::npos) continue;
      // There is nothing to wait for, and to release what is not open is as good as done.
      if (request.opcode == Opcode::kRelease || request.opcode == Opcode::kReleasedir) continue;
      SCOPED_TRACE(absl::StrCat(fuse::OpcodeName(request.opcode), " of handle ", handle));
      std::memcpy(request.arguments.data() + request.handle_at, &handle, sizeof(handle));
      const RawReply reply = Must(client().Raw(request.Header(), request.arguments));
      EXPECT_NE(reply.error, 0);
    }
  }
  EXPECT_EQ(tree_.Snapshot(), before_);
}

// A directory is not read as a file, nor a file as a directory, nor written what was opened to
// read.
TEST_F(FuseStateTest, HandlesOfAnotherKind) {
  EXPECT_NE(ErrorOf(client().Read(files_.dir, files_.dir_handle, 0, 100)), 0);
  EXPECT_NE(ErrorOf(client().Write(files_.dir, files_.dir_handle, 0, "x")), 0);
  EXPECT_NE(ErrorOf(client().Read(files_.file, files_.dir_handle, 0, 100)), 0);
  EXPECT_NE(ErrorOf(client().Fallocate(files_.dir, files_.dir_handle, 0, 1, 0)), 0);
  const auto ignore = [](const driver::DirentView&) {};
  EXPECT_NE(ErrorOf(client().Readdir(files_.file, files_.file_handle, 0, 4096, ignore)), 0);
  EXPECT_NE(ErrorOf(client().Readdirplus(files_.dir, files_.file_handle, 0, 4096, ignore)), 0);
  const HandleId reader = Must(client().Open(files_.file, O_RDONLY)).fh;
  EXPECT_EQ(ErrorOf(client().Write(files_.file, reader, 0, "x")), EBADF);
  const HandleId writer = Must(client().Open(files_.file, O_WRONLY)).fh;
  EXPECT_EQ(ErrorOf(client().Read(files_.file, writer, 0, 1)), EBADF);
  EXPECT_NE(ErrorOf(client().Open(files_.dir, O_RDWR)), 0);
  EXPECT_NE(ErrorOf(client().Opendir(files_.file)), 0);
  EXPECT_EQ(tree_.Snapshot(), before_);
}

// Rows 25 and 26.
TEST_F(FuseStateTest, ForgettingWhatIsNotThere) {
  const NodeId file = Must(client().Lookup(files_.dir, "file")).nodeid;
  Must(client().Forget(NodeId::kRoot, 1));
  Must(client().Forget(NodeId::kRoot, UINT64_MAX));
  Must(client().Forget(static_cast<NodeId>(0), 1));
  Must(client().Forget(static_cast<NodeId>(UINT64_MAX), UINT64_MAX));
  EXPECT_EQ(ErrorOf(client().Getattr(NodeId::kRoot)), 0);
  Must(client().Forget(file, 0));
  EXPECT_EQ(ErrorOf(client().Getattr(file)), 0);
  Must(client().Forget(file, UINT64_MAX));
  EXPECT_NE(ErrorOf(client().Getattr(file)), 0);
  Must(client().Forget(file, 1));
  EXPECT_EQ(ErrorOf(client().Getattr(Must(client().Lookup(files_.dir, "file")).nodeid)), 0);
  // The directory of forgotten names is still there.
  EXPECT_EQ(ErrorOf(client().Getattr(files_.dir)), 0);
}

// An id that is given back is never another file's.
TEST_F(FuseStateTest, IdsAreNotUsedAgain) {
  std::set<NodeId> nodes;
  std::set<HandleId> handles;
  for (int i = 0; i < 2000; ++i) {
    const auto made = Must(client().Create(files_.dir, "new", O_RDWR, 0600));
    EXPECT_TRUE(nodes.insert(made.entry.nodeid).second) << static_cast<uint64_t>(made.entry.nodeid);
    EXPECT_TRUE(handles.insert(made.open.fh).second) << static_cast<uint64_t>(made.open.fh);
    Must(client().Release(made.entry.nodeid, made.open.fh));
    Must(client().Unlink(files_.dir, "new"));
    Must(client().Forget(made.entry.nodeid, 1));
  }
}

TEST_F(FuseStateTest, AFloodOfForgets) {
  FuseClient many(&machine(), {.queue = 2, .depth = 4});
  std::vector<fuse::ForgetOne> nodes(65535);
  for (size_t i = 0; i < nodes.size(); ++i) {
    nodes[i] = {.nodeid = static_cast<NodeId>(i * 977 + 1000), .nlookup = UINT64_MAX - i};
  }
  for (int i = 0; i < 10; ++i) Must(many.BatchForget(nodes));
  ExpectOthersServed();
  EXPECT_EQ(ErrorOf(client().Getattr(files_.file)), 0);
}

// Two queues of one guest against each other: what one uses the other takes away.
TEST_F(FuseStateTest, TwoQueuesAgainstEachOther) {
  const absl::Time until = absl::Now() + absl::Seconds(1);
  std::thread other([&] {
    FuseClient client(&machine(), {.queue = 2});
    while (absl::Now() < until) {
      const auto found = client.Lookup(files_.dir, "file");
      if (!found.ok()) continue;
      const auto open = client.Open(found->nodeid, O_RDWR);
      Must(client.BatchForget(
          std::vector<fuse::ForgetOne>{{.nodeid = found->nodeid, .nlookup = 1000}}));
      if (!open.ok()) continue;
      (void)client.Write(found->nodeid, open->fh, 0, "text");
      (void)client.Release(found->nodeid, open->fh);
      (void)client.Unlink(files_.dir, "moved");
      (void)client.Rename(files_.dir, "file", NodeId::kRoot, "moved");
      (void)client.Rename(NodeId::kRoot, "moved", files_.dir, "file");
    }
  });
  while (absl::Now() < until) {
    const auto found = client().Lookup(files_.dir, "file");
    if (!found.ok()) continue;
    (void)client().Getattr(found->nodeid);
    (void)client().Read(found->nodeid, files_.file_handle, 0, 100);
    (void)client().Link(found->nodeid, files_.dir, "moved");
    (void)client().Forget(found->nodeid, 1000);
  }
  other.join();
  ExpectOthersServed();
}

}  // namespace
}  // namespace gofer::vhost
