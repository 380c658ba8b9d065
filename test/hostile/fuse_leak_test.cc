// Every request many times, served and refused: nodes, counts, handles and descriptors return to
// what they were.

#include <fcntl.h>
#include <sys/stat.h>

#include <functional>
#include <string>

#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/hostile/hostile_fuse.h"

namespace gofer::fuse {
namespace {

using testing::Bytes;
using testing::FuseReply;
using testing::Terminated;

constexpr int kRounds = 300;

class FuseLeak : public HostileFuseTest {
 protected:
  void ExpectNothingHeld(const char* what, const std::function<void()>& round) {
    round();
    const RefPtr<Connection> connection = world_.session->connection();
    const uint64_t lookups = connection->nodes().lookups();
    const size_t nodes = connection->nodes().size();
    const size_t handles = connection->handles().size();
    world_.filesystem->dentries().Purge();
    const size_t fds = world_.filesystem->open_fds();
    const size_t dentries = world_.filesystem->dentries().size();
    for (int i = 0; i < kRounds; ++i) round();
    EXPECT_EQ(connection->nodes().lookups(), lookups) << what;
    EXPECT_EQ(connection->nodes().size(), nodes) << what;
    EXPECT_EQ(connection->handles().size(), handles) << what;
    world_.filesystem->dentries().Purge();
    EXPECT_LE(world_.filesystem->open_fds(), fds + 2) << what;
    EXPECT_EQ(world_.filesystem->dentries().size(), dentries) << what;
  }
  void ForgetEntry(const FuseReply& reply) {
    if (reply.error == 0) client().Forget(reply.As<EntryOut>().nodeid, 1);
  }
};

TEST_F(FuseLeak, RequestsThatAreServed) {
  const NodeId root = NodeId::kRoot;
  const NodeId d = client().Walk("d");
  const NodeId f = client().Walk("d/f");
  const std::string create =
      Bytes(CreateIn{.flags = O_RDWR, .mode = S_IFREG | 0600, .umask = 0, .open_flags = 0});
  ExpectNothingHeld("LOOKUP", [&] {
    ForgetEntry(client().Call(Opcode::kLookup, d, Terminated("f")));
    ForgetEntry(client().Call(Opcode::kLookup, root, Terminated("abs")));
  });
  ExpectNothingHeld("OPEN", [&] { client().Release(f, client().Open(f, O_RDWR)); });
  ExpectNothingHeld("CREATE", [&] {
    const CreateOut made = client().Create(d, "new", O_RDWR);
    client().Release(made.entry.nodeid, made.open.fh);
    client().Call(Opcode::kUnlink, d, Terminated("new"));
    client().Forget(made.entry.nodeid, 1);
  });
  ExpectNothingHeld("TMPFILE", [&] {
    const CreateOut made =
        client().Call(Opcode::kTmpfile, d, create + Terminated("/")).As<CreateOut>();
    client().Release(made.entry.nodeid, made.open.fh);
    client().Forget(made.entry.nodeid, 1);
  });
  ExpectNothingHeld("names", [&] {
    ForgetEntry(client().Call(Opcode::kMkdir, d, Bytes(MkdirIn{}) + Terminated("sub")));
    ForgetEntry(client().Call(Opcode::kSymlink, d, Terminated("s") + Terminated("t")));
    ForgetEntry(client().Call(Opcode::kMknod, d, Bytes(MknodIn{}) + Terminated("n")));
    ForgetEntry(client().Call(Opcode::kLink, d, Bytes(LinkIn{f}) + Terminated("l")));
    client().Call(Opcode::kRename, d, Bytes(RenameIn{root}) + Terminated("l") + Terminated("m"));
    client().Call(Opcode::kUnlink, root, Terminated("m"));
    for (const char* name : {"s", "n"}) client().Call(Opcode::kUnlink, d, Terminated(name));
    client().Call(Opcode::kRmdir, d, Terminated("sub"));
  });
  ExpectNothingHeld("READDIRPLUS", [&] {
    const HandleId fh = client().Opendir(d);
    ReadIn in = {};
    in.fh = fh;
    in.size = 4096;
    const FuseReply reply = client().Call(Opcode::kReaddirplus, d, Bytes(in));
    for (const testing::FuseDirent& entry : testing::ParseDirents(reply.body, true)) {
      client().Forget(entry.entry.nodeid, entry.entry.nodeid == NodeId::kNone ? 0 : 1);
    }
    client().Release(d, fh);
  });
  ExpectNothingHeld("locks", [&] {
    const HandleId fh = client().Open(f, O_RDWR);
    LkIn lock = {};
    lock.fh = fh;
    lock.owner = 7;
    lock.lk = {.start = 0, .end = 10, .type = F_WRLCK, .pid = 0};
    client().Call(Opcode::kSetlk, f, Bytes(lock));
    client().Call(Opcode::kGetlk, f, Bytes(lock));
    FlushIn flush = {};
    flush.fh = fh;
    flush.lock_owner = 7;
    client().Call(Opcode::kFlush, f, Bytes(flush));
    client().Release(f, fh);
  });
  ExpectNothingHeld("attributes", [&] {
    client().Getattr(f);
    client().Call(Opcode::kStatx, f, Bytes(StatxIn{}));
    SetattrIn in = {};
    in.valid = setattr::kSize | setattr::kMode;
    in.size = 4;
    in.mode = 0644;
    client().Setattr(f, in);
    client().Call(Opcode::kStatfs, f, "");
    const SetxattrIn set = {.size = 1, .flags = 0};
    client().Call(Opcode::kSetxattr, f, Bytes(set) + Terminated("user.k") + "v");
    client().Call(Opcode::kRemovexattr, f, Terminated("user.k"));
    client().Call(Opcode::kSyncfs, NodeId::kRoot, Bytes(SyncfsIn{}));
  });
}

TEST_F(FuseLeak, RequestsThatAreRefused) {
  const NodeId d = client().Walk("d");
  const NodeId f = client().Walk("d/f");
  const NodeId pipe = client().Walk("pipe");
  const CreateIn create = {.flags = O_RDWR | O_EXCL, .mode = 0600, .umask = 0, .open_flags = 0};
  const std::string names[] = {"f", "..", "", std::string(300, 'x'), "missing/"};
  for (const std::string& name : names) {
    ExpectNothingHeld("names", [&] {
      const std::string text = Terminated(name);
      client().Call(Opcode::kLookup, f, text);
      client().Call(Opcode::kMkdir, d, Bytes(MkdirIn{}) + text);
      client().Call(Opcode::kMknod, d, Bytes(MknodIn{}) + text);
      client().Call(Opcode::kSymlink, d, text + Terminated("t"));
      client().Call(Opcode::kCreate, d, Bytes(create) + text);
      client().Call(Opcode::kLink, d, Bytes(LinkIn{d}) + text);
      client().Call(Opcode::kRename, d, Bytes(RenameIn{f}) + text + text);
      client().Call(Opcode::kRmdir, d, text);
    });
  }
  ExpectNothingHeld("opens", [&] {
    client().Call(Opcode::kOpen, pipe, Bytes(OpenIn{.flags = O_RDWR, .open_flags = 0}));
    client().Call(Opcode::kOpen, d, Bytes(OpenIn{.flags = O_RDWR, .open_flags = 0}));
    client().Call(Opcode::kOpendir, f, Bytes(OpenIn{}));
    client().Call(Opcode::kOpen, f, Bytes(OpenIn{.flags = O_DIRECTORY, .open_flags = 0}));
  });
  // A reply that has no room gives nothing.
  ExpectNothingHeld("replies", [&] {
    client().room = 17;
    client().Call(Opcode::kLookup, d, Terminated("f"));
    client().Call(Opcode::kOpen, f, Bytes(OpenIn{}));
    client().Call(Opcode::kMkdir, d, Bytes(MkdirIn{}) + Terminated("sub"));
    client().room = kMaxMessage;
  });
}

}  // namespace
}  // namespace gofer::fuse
