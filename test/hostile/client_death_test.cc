// Clients that die at every byte of what they say, and between any two of their requests: all that
// was held for them is given back, and the others do not notice. R-04.
//
// A monitor that dies at every byte of a guest's set-up, and in every state of it, is in
// vu_message_test and vu_reconnect_test.
//
// Source: spec/security.md s.7 and s.10.

#include <fcntl.h>
#include <sys/socket.h>

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "fuse/wire/abi.h"
#include "gofer/sys/futex.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/frames.h"
#include "test/hostile/hostile.h"
#include "test/hostile/hostile_fuse.h"

namespace lisafs {
namespace {

using gofer::UniqueFd;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class ClientDeath : public HostileTest {};

TEST_F(ClientDeath, AtEveryByteOnTheSocket) {
  const std::string stream = RecordedSession();
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    UniqueFd socket = server_.ConnectSocket();
    SendAll(socket.get(), absl::string_view(stream).substr(0, cut));
    // Alternately gone at once, with replies unread, and after having read what there is.
    if (cut % 2 == 0) {
      shutdown(socket.get(), SHUT_WR);
      char buffer[4096];
      while (recv(socket.get(), buffer, sizeof(buffer), 0) > 0) {
      }
    }
    socket.Reset();
    if (cut % 50 == 0) ExpectOthersServed();
  }
}

// A request that is in the window up to some byte, with the turn passed or not.
TEST_F(ClientDeath, AtEveryByteInAWindow) {
  struct {
    PacketHeader packet;
    ChannelHeader channel;
    FdId fd;
  } request = {.packet = {.connection_state = 0,
                          .data_len = sizeof(ChannelHeader) + sizeof(FdId),
                          .reserved = 0},
               .channel = {.message = MessageId::kFStat, .num_fds = 0, .pad = 0},
               .fd = FdId{1}};
  for (size_t cut = 0; cut <= sizeof(request); ++cut) {
    for (const uint32_t state : {0u, 1u, 2u}) {
      Session session(server_, Via::kChannel);
      ChannelWay& way = session.client().channel_way(0);
      // Behind the state, which the last store changes.
      if (cut > sizeof(uint32_t)) {
        std::memcpy(way.window().data() + sizeof(uint32_t),
                    reinterpret_cast<const std::byte*>(&request) + sizeof(uint32_t),
                    cut - sizeof(uint32_t));
      }
      way.state() = state;
      if (cut % 2 == 0) gofer::sys::FutexWake(way.state(), 1);
    }
  }
}

// Between any two requests, with files open, some of them deleted, and descriptors on their way.
TEST_F(ClientDeath, AfterEveryRequest) {
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    for (int requests = 0; requests < 8; ++requests) {
      Session session(server_, via);
      int left = requests;
      const auto goes_on = [&] { return left-- > 0; };
      Inode file = {};
      if (goes_on()) file = session.Create("f", "text");
      if (goes_on()) Must(session->OpenAt(file.control_fd, O_RDWR));
      if (goes_on()) Must(session->UnlinkAt(session.root(), "f", 0));
      if (goes_on()) session.Mkdir("d");
      if (goes_on()) session.Open(session.Walk("d").control_fd, O_RDONLY);
      if (goes_on()) Must(session->BindAt(session.root(), "s", SOCK_STREAM, 0755, kNobody));
      if (goes_on()) Must(session->UnlinkAt(session.root(), "d", AT_REMOVEDIR));
      for (const char* const name : {"f", "s"}) {
        if (tree_.Exists(std::string("served/") + name)) {
          tree_.Unlink(std::string("served/") + name);
        }
      }
      if (tree_.Exists("served/d")) tree_.Rmdir("served/d");
    }
  }
}

}  // namespace
}  // namespace lisafs

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseRequest;
using testing::Terminated;

class FuseClientDeath : public HostileFuseTest {};

// Its device has gone, after each of its requests; the last of them waits for a lock.
TEST_F(FuseClientDeath, AfterEveryRequest) {
  for (int requests = 0; requests <= 8; ++requests) {
    world_.Restart(Permissive());
    int left = requests;
    const auto goes_on = [&] { return left-- > 0; };
    NodeId node = NodeId::kNone;
    CreateOut made = {};
    LkIn lock = {};
    lock.owner = 1;
    lock.lk = {.start = 0, .end = kLockToEnd, .type = F_WRLCK, .pid = 1};
    if (goes_on()) node = client().Walk("d/f");
    if (goes_on()) lock.fh = client().Open(node, O_RDWR);
    if (goes_on()) made = client().Create(NodeId::kRoot, "f", O_RDWR);
    if (goes_on()) client().Write(made.entry.nodeid, made.open.fh, 0, "text");
    if (goes_on()) client().Call(Opcode::kUnlink, NodeId::kRoot, Terminated("f"));
    if (goes_on()) client().Opendir(client().Walk("d"));
    if (goes_on()) client().Call(Opcode::kSetlk, node, Bytes(lock));
    std::unique_ptr<FuseRequest> waiting;
    if (goes_on()) {
      lock.owner = 2;
      waiting =
          std::make_unique<FuseRequest>(client().Message(Opcode::kSetlkw, node, Bytes(lock)), 64);
      EXPECT_EQ(world_.session->Serve(*waiting, Serving::kInline, client().scratch()).kind,
                Outcome::Kind::kDeferred);
    }
    world_.End();
    if (waiting) {
      EXPECT_TRUE(waiting->completed()) << "its buffers may go now";
    }
    if (world_.tree.Exists("served/f")) world_.tree.Unlink("served/f");
  }
  world_.Restart(Permissive());
}

}  // namespace
}  // namespace gofer::fuse
