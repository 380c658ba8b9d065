// A client's life with a session: INIT and what comes before and after it, everyday requests, and
// what the session does with requests whatever they ask.

#include "fuse/session/session.h"

#include <fcntl.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseRequest;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::Terminated;

class SessionTest : public ::testing::Test {
 protected:
  FuseClient& client() { return *world_.client; }

  FuseWorld world_;
};

TEST_F(SessionTest, BeforeInitAndAfterDestroyThereIsNothing) {
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(client().Getattr(NodeId::kRoot).error, EIO);
    EXPECT_EQ(client().Call(Opcode::kLookup, NodeId::kRoot, Terminated("x")).error, EIO);
    EXPECT_EQ(client().Call(Opcode{4711}, NodeId::kRoot, "").error, EIO);
    client().Forget(NodeId::kRoot, 1);
    const FuseReply destroyed = client().Call(Opcode::kDestroy, NodeId::kNone, "");
    EXPECT_EQ(destroyed.written, 16u);
    EXPECT_EQ(destroyed.error, 0);
    EXPECT_EQ(client().Init().error, 0);
    EXPECT_EQ(client().Getattr(NodeId::kRoot).error, 0);
    EXPECT_EQ(client().Call(Opcode::kDestroy, NodeId::kNone, "").error, 0);
  }
}

TEST_F(SessionTest, DestroyWithoutRoomHasNoReply) {
  EXPECT_EQ(client().Raw(client().Message(Opcode::kDestroy, NodeId::kNone, ""), 0).written, 0u);
}

TEST_F(SessionTest, ANewInitWipesWhatWasThere) {
  world_.tree.Write("f", "text");
  ASSERT_EQ(client().Init().error, 0);
  const size_t base = world_.filesystem->open_fds();
  const NodeId node = client().Walk("f");
  const HandleId fh = client().Open(node, O_RDONLY);
  ASSERT_EQ(client().Init().error, 0);
  EXPECT_EQ(client().Getattr(node).error, EBADF);
  EXPECT_EQ(client().Read(node, fh, 0, 10).error, EBADF);
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->open_fds(), base);
  EXPECT_EQ(client().Getattr(NodeId::kRoot).error, 0);
}

TEST_F(SessionTest, AFailedInitLeavesNoConnection) {
  ASSERT_EQ(client().Init().error, 0);
  EXPECT_EQ(client().Init(FuseClient::kAllFlags, 26).error, EPROTO);
  EXPECT_EQ(client().Getattr(NodeId::kRoot).error, EIO);
  const FuseReply newer = client().Init(FuseClient::kAllFlags, 0, 8);
  EXPECT_EQ(newer.error, 0);
  EXPECT_EQ(newer.As<InitOut>().major, 7u);
  EXPECT_EQ(client().Getattr(NodeId::kRoot).error, EIO);
  EXPECT_EQ(client().Init().error, 0);
  EXPECT_EQ(client().Getattr(NodeId::kRoot).error, 0);
}

TEST_F(SessionTest, ResetIsADestroy) {
  ASSERT_EQ(client().Init().error, 0);
  world_.session->Reset();
  EXPECT_EQ(client().Getattr(NodeId::kRoot).error, EIO);
  EXPECT_EQ(client().Init().error, 0);
}

TEST_F(SessionTest, WhatWorksOnAnOldConnectionLeavesNothingInTheNewOne) {
  world_.tree.Write("f", "text");
  ASSERT_EQ(client().Init().error, 0);
  const RefPtr<Connection> old = world_.session->connection();
  const NodeId node = client().Walk("f");
  const ErrnoOr<RefPtr<fs::Dentry>> dentry = old->nodes().Find(node);
  ASSERT_EQ(client().Init().error, 0);
  // As a request would that was in flight meanwhile.
  EXPECT_EQ(old->nodes().Remember(*dentry).error(), ENODEV);
  EXPECT_EQ(old->handles().Add({}, node).error(), ENODEV);
  EXPECT_EQ(old->SetLock(**dentry, 1, {.type = F_WRLCK, .start = 0, .end = kLockToEnd}).error(),
            ENODEV);
  EXPECT_EQ(world_.session->connection()->nodes().size(), 0u);
}

TEST_F(SessionTest, RequestsWhileConnectionsComeAndGo) {
  for (int i = 0; i < 4; ++i) world_.tree.Write("f" + std::to_string(i), "text");
  ASSERT_EQ(client().Init().error, 0);
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      FuseClient other(*world_.session);
      for (int i = 0; !done; ++i) {
        const FuseReply entry =
            other.Call(Opcode::kLookup, NodeId::kRoot, Terminated("f" + std::to_string(i % 4)));
        if (entry.error != 0) continue;
        const NodeId node = entry.As<EntryOut>().nodeid;
        const FuseReply open = other.Call(Opcode::kOpen, node, Bytes(OpenIn{}));
        if (open.error == 0) {
          const HandleId fh = open.As<OpenOut>().fh;
          const FuseReply read = other.Read(node, fh, 0, 10);
          EXPECT_TRUE(read.error != 0 || read.body == "text");
          other.Release(node, fh);
        }
        other.Forget(node, 1);
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    if (i % 3 == 0) world_.session->Reset();
    ASSERT_EQ(client().Init().error, 0);
    std::this_thread::yield();
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
  world_.End();
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->dentries().size(), 1u);
  EXPECT_EQ(world_.filesystem->open_fds(), 1u);
}

TEST_F(SessionTest, LengthsAreChecked) {
  ASSERT_EQ(client().Init().error, 0);
  std::string message = client().Message(Opcode::kGetattr, NodeId::kRoot, Bytes(GetattrIn{}));
  const auto with_len = [&message](uint32_t len) {
    std::string changed = message;
    changed.replace(0, sizeof(len), Bytes(len));
    return changed;
  };
  const size_t room = 4096;
  EXPECT_EQ(client().Raw(with_len(56), room).error, 0);
  EXPECT_EQ(client().Raw(with_len(57), room).error, EINVAL) << "longer than it is";
  EXPECT_EQ(client().Raw(with_len(55), room).error, EINVAL) << "its arguments are cut";
  EXPECT_EQ(client().Raw(with_len(39), room).error, EINVAL);
  EXPECT_EQ(client().Raw(with_len(0), room).error, EINVAL);
  EXPECT_EQ(client().Raw(with_len(kMaxMessage + 1), room).error, ENOMEM);
  EXPECT_EQ(client().Raw(with_len(UINT32_MAX), room).error, ENOMEM);
  for (size_t size = 0; size < sizeof(InHeader); ++size) {
    EXPECT_EQ(client().Raw(absl::string_view(message).substr(0, size), room).written, 0u);
  }
  message.append(100, 'x');
  EXPECT_EQ(client().Raw(with_len(56), room).error, 0) << "what is behind it is not looked at";
}

TEST_F(SessionTest, NothingIsDoneWithoutRoomForTheReply) {
  world_.tree.Write("f", "text");
  ASSERT_EQ(client().Init().error, 0);
  const std::string lookup = client().Message(Opcode::kLookup, NodeId::kRoot, Terminated("f"));
  const std::string create =
      client().Message(Opcode::kCreate, NodeId::kRoot,
                       Bytes(CreateIn{.flags = O_RDWR, .mode = 0644, .umask = 0, .open_flags = 0}) +
                           Terminated("made"));
  const std::string mkdir = client().Message(
      Opcode::kMkdir, NodeId::kRoot, Bytes(MkdirIn{.mode = 0755, .umask = 0}) + Terminated("dir"));
  for (size_t room = 0; room < sizeof(OutHeader) + sizeof(EntryOut); ++room) {
    for (const std::string& message : {lookup, create, mkdir}) {
      const FuseReply reply = client().Raw(message, room);
      EXPECT_EQ(reply.written, room < 16 ? 0u : 16u);
      EXPECT_EQ(reply.error, room < 16 ? 0 : EINVAL);
    }
  }
  EXPECT_EQ(world_.session->connection()->nodes().lookups(), 0u);
  EXPECT_FALSE(world_.tree.Exists("made"));
  EXPECT_FALSE(world_.tree.Exists("dir"));
}

TEST_F(SessionTest, BuffersMayBeCutAnywhere) {
  const std::string text(5000, 'x');
  ASSERT_EQ(client().Init().error, 0);
  for (size_t cut = 1; cut < 60; ++cut) {
    client().cut = cut;
    const std::string name = "f" + std::to_string(cut);
    const CreateOut made = client().Create(NodeId::kRoot, name, O_RDWR);
    EXPECT_EQ(client().Write(made.entry.nodeid, made.open.fh, 1, text).As<WriteOut>().size, 5000u);
    EXPECT_EQ(client().Read(made.entry.nodeid, made.open.fh, 0, 8192).body,
              std::string(1, '\0') + text);
    EXPECT_EQ(client().Lookup(NodeId::kRoot, name).attr.size, 5001u);
    EXPECT_EQ(client().Getattr(made.entry.nodeid).As<AttrOut>().attr.size, 5001u);
    EXPECT_EQ(client().Release(made.entry.nodeid, made.open.fh).error, 0);
  }
}

TEST_F(SessionTest, UnknownOpcodesAreENOSYS) {
  ASSERT_EQ(client().Init().error, 0);
  for (uint32_t opcode = 0; opcode < 65536; opcode += opcode < 300 ? 1 : 37) {
    const std::string name(OpcodeName(Opcode{opcode}));
    if (name != "?" && name != "BMAP" && name != "POLL" && name != "NOTIFY_REPLY" &&
        name != "SETUPMAPPING" && name != "REMOVEMAPPING") {
      continue;
    }
    EXPECT_EQ(client().Call(Opcode{opcode}, NodeId::kRoot, std::string(64, '\0')).error, ENOSYS)
        << opcode << " " << name;
  }
  EXPECT_EQ(client().Call(Opcode{UINT32_MAX}, NodeId::kRoot, "").error, ENOSYS);
}

TEST_F(SessionTest, WhatAReplyGaveIsTakenBackWhenItIsNotDelivered) {
  world_.tree.Mkdir("d");
  world_.tree.Write("d/f", "");
  world_.tree.Write("d/g", "");
  ASSERT_EQ(client().Init().error, 0);
  const NodeId d = client().Walk("d");
  const HandleId dir = client().Opendir(d);
  const RefPtr<Connection> connection = world_.session->connection();
  Scratch scratch;
  ReadIn list = {};
  list.fh = dir;
  list.size = 4096;
  const std::string create =
      Bytes(CreateIn{.flags = O_RDWR, .mode = 0644, .umask = 0, .open_flags = 0});
  const struct {
    Opcode opcode;
    std::string args;
  } kRequests[] = {
      {Opcode::kLookup, Terminated("f")},
      {Opcode::kReaddirplus, Bytes(list)},
      {Opcode::kOpendir, Bytes(OpenIn{})},
      {Opcode::kCreate, create + Terminated("c")},
      {Opcode::kTmpfile, create + Terminated("/")},
      {Opcode::kMkdir, Bytes(MkdirIn{}) + Terminated("sub")},
      {Opcode::kMknod, Bytes(MknodIn{}) + Terminated("node")},
      {Opcode::kSymlink, Terminated("s") + Terminated("target")},
      {Opcode::kLookup, Terminated("missing")},
      {Opcode::kGetattr, Bytes(GetattrIn{})},
  };
  for (const auto& row : kRequests) {
    FuseRequest request(client().Message(row.opcode, d, row.args), 8192);
    const Outcome outcome = world_.session->Serve(request, Serving::kWorker, scratch);
    ASSERT_EQ(outcome.kind, Outcome::Kind::kDone);
    world_.session->Undelivered(request, outcome.written, scratch);
    EXPECT_EQ(connection->nodes().lookups(), 1u) << OpcodeName(row.opcode);
    EXPECT_EQ(connection->handles().size(), 1u) << OpcodeName(row.opcode);
  }
}

}  // namespace
}  // namespace gofer::fuse
