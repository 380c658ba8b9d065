// OPEN, OPENDIR, CREATE, TMPFILE, FLUSH, RELEASE.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::Terminated;

constexpr uint32_t kDirect = fopen::kDirectIo | fopen::kParallelDirectWrites;
constexpr uint32_t kKeepDir = fopen::kKeepCache | fopen::kCacheDir;

class OpsOpenTest : public ::testing::Test {
 protected:
  OpsOpenTest() { world_.Restart({}); }
  FuseClient& client() { return *world_.client; }
  FuseReply Open(NodeId node, uint32_t flags) {
    return client().Call(Opcode::kOpen, node, Bytes(OpenIn{.flags = flags, .open_flags = 0}));
  }
  FuseReply Create(absl::string_view name, uint32_t flags, uint32_t mode = 0644,
                   Opcode opcode = Opcode::kCreate, NodeId dir = NodeId::kRoot) {
    const CreateIn in = {.flags = flags, .mode = S_IFREG | mode, .umask = 022, .open_flags = 0};
    return client().Call(opcode, dir, Bytes(in) + Terminated(name));
  }
  uint64_t Lookups() { return world_.session->connection()->nodes().lookups(); }
  size_t Handles() { return world_.session->connection()->handles().size(); }

  FuseWorld world_;
};

TEST_F(OpsOpenTest, ReplyFlagsFollowThePolicy) {
  world_.tree.Write("f", "");
  const struct {
    CachePolicy policy;
    uint32_t file;
    uint32_t dir;
  } kTable[] = {
      {CachePolicy::kNever, kDirect, 0},
      {CachePolicy::kMetadata, kDirect, kKeepDir},
      {CachePolicy::kAuto, 0, 0},
      {CachePolicy::kAlways, fopen::kKeepCache, kKeepDir},
  };
  for (const auto& row : kTable) {
    for (const bool locks : {false, true}) {
      world_.Restart({.cache = row.policy, .posix_locks = locks});
      const NodeId node = client().Walk("f");
      const uint32_t quiet = locks ? 0 : fopen::kNoflush;
      EXPECT_EQ(Open(node, O_RDONLY).As<OpenOut>().open_flags, row.file | quiet);
      EXPECT_EQ(Open(node, O_RDWR).As<OpenOut>().open_flags, row.file);
      EXPECT_EQ(Open(node, O_WRONLY).As<OpenOut>().open_flags, row.file);
      const FuseReply dir = client().Call(Opcode::kOpendir, NodeId::kRoot, Bytes(OpenIn{}));
      EXPECT_EQ(dir.As<OpenOut>().open_flags, row.dir);
      EXPECT_EQ(Create("c", O_WRONLY).As<CreateOut>().open.open_flags, row.file);
      world_.tree.Unlink("c");
    }
  }
}

TEST_F(OpsOpenTest, TypesThatAreNotOpened) {
  world_.tree.Symlink("ln", "f");
  world_.tree.Fifo("p");
  world_.tree.Write("f", "");
  world_.tree.Mkdir("d");
  EXPECT_EQ(Open(client().Walk("ln"), O_RDONLY).error, ELOOP);
  EXPECT_EQ(Open(client().Walk("p"), O_RDONLY).error, EBADF);
  EXPECT_EQ(Open(client().Walk("d"), O_RDWR).error, EISDIR);
  EXPECT_EQ(client().Call(Opcode::kOpendir, client().Walk("f"), Bytes(OpenIn{})).error, ENOTDIR);
  EXPECT_EQ(Open(NodeId{99}, O_RDONLY).error, EBADF);
  EXPECT_EQ(Handles(), 0u);
}

// O_CREAT, O_EXCL, O_TMPFILE, O_PATH and the like of a hostile client do nothing.
TEST_F(OpsOpenTest, FlagsThatMeanSomethingElseInAReopenAreDropped) {
  world_.tree.Write("f", "text");
  const NodeId node = client().Walk("f");
  for (const uint32_t flag :
       {uint32_t{O_CREAT}, uint32_t{O_EXCL}, uint32_t{O_PATH}, uint32_t{020000000},
        uint32_t{O_ASYNC}, uint32_t{O_NOFOLLOW}, uint32_t{O_APPEND}, 0x80000000u, 0x40000000u}) {
    const FuseReply reply = Open(node, O_RDWR | flag);
    ASSERT_EQ(reply.error, 0) << std::hex << flag;
    const HandleId fh = reply.As<OpenOut>().fh;
    EXPECT_EQ(client().Read(node, fh, 0, 10).body, "text") << std::hex << flag;
    EXPECT_EQ(client().Write(node, fh, 0, "t").error, 0);
    EXPECT_EQ(client().Release(node, fh).error, 0);
  }
  EXPECT_EQ(world_.tree.Read("f"), "text");
}

TEST_F(OpsOpenTest, TruncatesWhenAsked) {
  world_.tree.Write("f", "text");
  const NodeId node = client().Walk("f");
  EXPECT_EQ(Open(node, O_WRONLY | O_TRUNC).error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kDone);
  EXPECT_EQ(world_.tree.Read("f"), "");
  ASSERT_EQ(truncate(world_.tree.At("f").c_str(), 1 << 30), 0);
  EXPECT_EQ(Open(node, O_WRONLY | O_TRUNC).error, 0);
  EXPECT_EQ(client().last_kind(), Outcome::Kind::kWouldBlock);
  EXPECT_EQ(world_.tree.Stat("f").st_size, 0);
}

TEST_F(OpsOpenTest, TruncatingDropsSetIdBitsWhenTheClientSaysSo) {
  world_.Restart({.killpriv_v2 = true});
  for (const uint32_t kill : {0u, kOpenKillSuidgid}) {
    world_.tree.Write("f", "text");
    ASSERT_EQ(chmod(world_.tree.At("f").c_str(), 06755), 0);
    const OpenIn in = {.flags = O_WRONLY | O_TRUNC, .open_flags = kill};
    EXPECT_EQ(client().Call(Opcode::kOpen, client().Walk("f"), Bytes(in)).error, 0);
    EXPECT_EQ(world_.tree.Stat("f").st_mode & 07777, kill != 0 ? 0755u : 06755u);
  }
}

// With a write-back cache the client reads what it writes a part of, and says where.
TEST_F(OpsOpenTest, WritebackOpensForReadingToo) {
  world_.tree.Write("f", "text");
  for (const bool writeback : {false, true}) {
    world_.Restart({.writeback = writeback});
    const NodeId node = client().Walk("f");
    const HandleId fh = client().Open(node, O_WRONLY | O_APPEND);
    EXPECT_EQ(client().Read(node, fh, 0, 10).error, writeback ? 0 : EBADF);
    EXPECT_EQ(client().Write(node, fh, 0, "T", O_APPEND, kWriteCache).error, 0);
    EXPECT_EQ(world_.tree.Read("f"), "Text");
    const CreateOut made = client().Create(NodeId::kRoot, writeback ? "a" : "b", O_WRONLY);
    EXPECT_EQ(client().Read(made.entry.nodeid, made.open.fh, 0, 10).error, writeback ? 0 : EBADF);
  }
}

TEST_F(OpsOpenTest, DirectIoIsTheOptionsToAllow) {
  world_.tree.Write("f", std::string(8192, 'x'));
  for (const bool allow : {false, true}) {
    world_.Restart({.allow_direct_io = allow});
    const NodeId node = client().Walk("f");
    const HandleId fh = client().Open(node, O_RDWR | O_DIRECT);
    // Odd buffers are mended, odd places are the host's to refuse.
    EXPECT_EQ(client().Read(node, fh, 0, 4096).body.size(), 4096u);
    EXPECT_EQ(client().last_kind(), allow ? Outcome::Kind::kWouldBlock : Outcome::Kind::kDone);
    EXPECT_EQ(client().Write(node, fh, 7, "odd").error, allow ? EINVAL : 0);
    const CreateOut made = client().Create(NodeId::kRoot, allow ? "a" : "b", O_RDWR | O_DIRECT);
    EXPECT_EQ(client().Write(made.entry.nodeid, made.open.fh, 7, "odd").error, allow ? EINVAL : 0)
        << "a new file is no exception";
  }
}

TEST_F(OpsOpenTest, CreateMakesTheCallersFile) {
  client().uid = 1000;
  client().gid = 1001;
  const FuseReply reply = Create("f", O_RDWR, 0640);
  ASSERT_EQ(reply.error, 0);
  const CreateOut out = reply.As<CreateOut>();
  EXPECT_EQ(out.entry.attr.uid, 1000u);
  EXPECT_EQ(out.entry.attr.gid, 1001u);
  EXPECT_EQ(out.entry.attr.mode, S_IFREG | 0640u);
  EXPECT_EQ(world_.tree.Stat("f").st_uid, 1000u);
  EXPECT_EQ(world_.tree.Stat("f").st_mode, S_IFREG | 0640u)
      << "the umask was applied by the client";
  EXPECT_EQ(Lookups(), 1u);
}

TEST_F(OpsOpenTest, WithAclsTheUmaskIsOurs) {
  world_.Restart({.posix_acl = true});
  EXPECT_EQ(Create("f", O_RDWR, 0666).error, 0);
  EXPECT_EQ(world_.tree.Stat("f").st_mode, S_IFREG | 0644u);
}

TEST_F(OpsOpenTest, NobodyMakesNothing) {
  for (const auto& [uid, gid] : {std::pair{kNoClientId, 0u}, {0u, kNoClientId}}) {
    client().uid = uid;
    client().gid = gid;
    EXPECT_EQ(Create("f", O_RDWR).error, EINVAL);
    EXPECT_EQ(Create("/", O_RDWR, 0600, Opcode::kTmpfile).error, EINVAL);
  }
  SessionOptions options;
  ASSERT_TRUE(options.gid_map.Add("forbid-guest:7:1").ok());
  world_.Restart(options);
  client().gid = 7;
  EXPECT_EQ(Create("f", O_RDWR).error, EPERM);
  EXPECT_FALSE(world_.tree.Exists("f"));
}

TEST_F(OpsOpenTest, CreateOfWhatIsThere) {
  world_.tree.Write("f", "text");
  EXPECT_EQ(Create("f", O_RDWR | O_EXCL).error, EEXIST);
  const FuseReply reply = Create("f", O_RDWR);
  ASSERT_EQ(reply.error, 0);
  const CreateOut out = reply.As<CreateOut>();
  EXPECT_EQ(out.entry.nodeid, client().Walk("f"));
  EXPECT_EQ(client().Read(out.entry.nodeid, out.open.fh, 0, 10).body, "text");
  const FuseReply cut = Create("f", O_RDWR | O_TRUNC);
  ASSERT_EQ(cut.error, 0);
  EXPECT_EQ(cut.As<CreateOut>().entry.attr.size, 0u);
  EXPECT_EQ(world_.tree.Read("f"), "");
}

// The client believes that the file is new, and has not asked whether the caller may open it.
TEST_F(OpsOpenTest, CreateOfWhatIsThereChecksThePermission) {
  world_.tree.Write("f", "text", 0640);
  ASSERT_EQ(chown(world_.tree.At("f").c_str(), 5, 6), 0);
  const struct {
    uint32_t uid;
    uint32_t gid;
    uint32_t flags;
    int error;
  } kTable[] = {
      {0, 0, O_RDWR, 0},        {5, 9, O_RDWR, 0},        {7, 6, O_RDONLY, 0},
      {7, 6, O_RDWR, EACCES},   {7, 6, O_WRONLY, EACCES}, {7, 6, O_RDONLY | O_TRUNC, EACCES},
      {7, 9, O_RDONLY, EACCES},
  };
  for (const auto& row : kTable) {
    client().uid = row.uid;
    client().gid = row.gid;
    EXPECT_EQ(Create("f", row.flags).error, row.error) << row.uid << " " << row.flags;
  }
  EXPECT_EQ(world_.tree.Read("f"), "text");
  const size_t opened = 3;
  EXPECT_EQ(Lookups(), opened) << "what fails leaves no count";
  EXPECT_EQ(Handles(), opened);
}

TEST_F(OpsOpenTest, CreateOfWhatIsNoFile) {
  world_.tree.Mkdir("d");
  world_.tree.Symlink("ln", "/etc/passwd");
  world_.tree.Fifo("p");
  EXPECT_EQ(Create("d", O_RDWR).error, EISDIR);
  EXPECT_EQ(Create("ln", O_RDWR).error, ELOOP);
  EXPECT_EQ(Create("p", O_RDWR).error, EBADF);
  EXPECT_EQ(Lookups(), 0u);
}

TEST_F(OpsOpenTest, TmpfileHasNoNameUntilItIsLinked) {
  const FuseReply reply = Create("/", O_RDWR, 0600, Opcode::kTmpfile);
  ASSERT_EQ(reply.error, 0);
  const CreateOut out = reply.As<CreateOut>();
  const NodeId node = out.entry.nodeid;
  EXPECT_EQ(out.entry.attr.nlink, 0u);
  EXPECT_EQ(client().Write(node, out.open.fh, 0, "text").error, 0);
  EXPECT_EQ(client().Getattr(node).As<AttrOut>().attr.size, 4u);
  const FuseReply link = client().Call(Opcode::kLink, NodeId::kRoot,
                                       Bytes(LinkIn{.oldnodeid = node}) + Terminated("named"));
  ASSERT_EQ(link.error, 0);
  EXPECT_EQ(link.As<EntryOut>().nodeid, node);
  EXPECT_EQ(world_.tree.Read("named"), "text");
  EXPECT_EQ(Lookups(), 2u);

  const FuseReply bound = Create("/", O_RDWR | O_EXCL, 0600, Opcode::kTmpfile);
  ASSERT_EQ(bound.error, 0);
  EXPECT_EQ(client()
                .Call(Opcode::kLink, NodeId::kRoot,
                      Bytes(LinkIn{.oldnodeid = bound.As<CreateOut>().entry.nodeid}) +
                          Terminated("other"))
                .error,
            ENOENT);
  EXPECT_EQ(Create("/", O_RDWR, 0600, Opcode::kTmpfile, node).error, ENOTDIR);
}

TEST_F(OpsOpenTest, FlushIsFreeOnThisMachinesFileSystems) {
  const CreateOut made = client().Create(NodeId::kRoot, "f", O_RDWR);
  FlushIn in = {};
  in.fh = made.open.fh;
  EXPECT_EQ(client().Call(Opcode::kFlush, made.entry.nodeid, Bytes(in)).error, 0);
  EXPECT_EQ(client().Call(Opcode::kFlush, NodeId::kRoot, Bytes(in)).error, EBADF);
}

TEST_F(OpsOpenTest, CreatesOfARefusedLabelLeaveNothing) {
  world_.Restart({.security_label = true});
  std::string context = Bytes(SecurityContext{.size = 5, .padding = 0});
  context += Terminated("no.such.namespace") + "label";
  context.resize((context.size() + 7) / 8 * 8);
  const std::string block =
      Bytes(ExtHeader{.size = static_cast<uint32_t>(8 + context.size()), .type = 1}) + context;
  client().extlen = static_cast<uint16_t>(block.size() / 8);
  const CreateIn in = {.flags = O_RDWR, .mode = 0600, .umask = 0, .open_flags = 0};
  EXPECT_EQ(
      client().Call(Opcode::kCreate, NodeId::kRoot, Bytes(in) + Terminated("f") + block).error,
      EOPNOTSUPP);
  EXPECT_EQ(client()
                .Call(Opcode::kMkdir, NodeId::kRoot, Bytes(MkdirIn{}) + Terminated("d") + block)
                .error,
            EOPNOTSUPP);
  EXPECT_EQ(
      client()
          .Call(Opcode::kSymlink, NodeId::kRoot, Terminated("s") + Terminated("target") + block)
          .error,
      EOPNOTSUPP);
  for (const char* name : {"f", "d", "s"}) EXPECT_FALSE(world_.tree.Exists(name)) << name;
  EXPECT_EQ(Lookups(), 0u);
  EXPECT_EQ(Handles(), 0u);
}

TEST_F(OpsOpenTest, LabelsAreSetOnWhatIsMade) {
  world_.Restart({.security_label = true});
  std::string context = Bytes(SecurityContext{.size = 5, .padding = 0});
  context += Terminated("user.label") + "value";
  context.resize((context.size() + 7) / 8 * 8);
  const std::string block =
      Bytes(ExtHeader{.size = static_cast<uint32_t>(8 + context.size()), .type = 1}) + context;
  const CreateIn in = {.flags = O_RDWR, .mode = 0600, .umask = 0, .open_flags = 0};
  for (const bool counted : {false, true}) {
    client().extlen = static_cast<uint16_t>(counted ? block.size() / 8 : 0);
    const std::string name = counted ? "counted" : "old";
    const FuseReply reply =
        client().Call(Opcode::kCreate, NodeId::kRoot, Bytes(in) + Terminated(name) + block);
    ASSERT_EQ(reply.error, 0);
    client().extlen = 0;
    const GetxattrIn get = {.size = 100, .padding = 0};
    EXPECT_EQ(client()
                  .Call(Opcode::kGetxattr, reply.As<CreateOut>().entry.nodeid,
                        Bytes(get) + Terminated("user.label"))
                  .body,
              "value");
  }
}

}  // namespace
}  // namespace gofer::fuse
