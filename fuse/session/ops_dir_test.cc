// READDIR, READDIRPLUS, MKDIR, MKNOD, UNLINK, RMDIR, RENAME, RENAME2, READLINK, SYMLINK, LINK.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <map>
#include <set>
#include <string>

#include "fuse/session/session.h"
#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {
namespace {

using ::gofer::testing::Bytes;
using ::gofer::testing::FuseClient;
using ::gofer::testing::FuseDirent;
using ::gofer::testing::FuseReply;
using ::gofer::testing::FuseWorld;
using ::gofer::testing::ParseDirents;
using ::gofer::testing::Terminated;

class OpsDirTest : public ::testing::Test {
 protected:
  OpsDirTest() { world_.Restart({}); }
  FuseClient& client() { return *world_.client; }
  uint64_t Lookups() { return world_.session->connection()->nodes().lookups(); }

  FuseReply ReadDir(NodeId node, HandleId fh, uint64_t offset, uint32_t size, bool plus) {
    ReadIn in = {};
    in.fh = fh;
    in.offset = offset;
    in.size = size;
    return client().Call(plus ? Opcode::kReaddirplus : Opcode::kReaddir, node, Bytes(in));
  }
  // All entries, asked for in pieces of `size` bytes.
  std::vector<FuseDirent> List(NodeId node, uint32_t size, bool plus) {
    std::vector<FuseDirent> list;
    const HandleId fh = client().Opendir(node);
    uint64_t offset = 0;
    for (;;) {
      const FuseReply reply = ReadDir(node, fh, offset, size, plus);
      EXPECT_EQ(reply.error, 0);
      EXPECT_LE(reply.body.size(), size);
      if (reply.error != 0 || reply.body.empty()) break;
      for (FuseDirent& entry : ParseDirents(reply.body, plus)) {
        offset = entry.dirent.off;
        list.push_back(std::move(entry));
      }
    }
    client().Release(node, fh);
    return list;
  }
  FuseReply Rename(NodeId from, absl::string_view old_name, NodeId to, absl::string_view new_name,
                   uint32_t flags = 0) {
    const std::string names = Terminated(old_name) + Terminated(new_name);
    if (flags == 0) return client().Call(Opcode::kRename, from, Bytes(RenameIn{to}) + names);
    return client().Call(Opcode::kRename2, from,
                         Bytes(Rename2In{.newdir = to, .flags = flags, .padding = 0}) + names);
  }
  FuseReply Mknod(absl::string_view name, uint32_t mode, uint32_t rdev = 0) {
    const MknodIn in = {.mode = mode, .rdev = rdev, .umask = 0, .padding = 0};
    return client().Call(Opcode::kMknod, NodeId::kRoot, Bytes(in) + Terminated(name));
  }

  FuseWorld world_;
};

TEST_F(OpsDirTest, FilesHaveTheNumbersThatARestoreHasKept) {
  world_.tree.Write("kept", "");
  world_.tree.Write("other", "");
  const fs::Entry kept =
      *world_.filesystem->Lookup(world_.filesystem->root(), *Name::Parse("kept"));
  const fs::FileNumber host = world_.filesystem->ClientNumberOf(kept.attr);
  fs::FileNumber number = host;
  number.ino = world_.tree.Stat("other").st_ino;  // which the host gives to another by now
  const fs::ClientNumbers::Kept pairs[] = {{host, number}};
  world_.filesystem->KeepNumbers(fs::ClientNumbers(pairs));

  const NodeId node = client().Lookup(NodeId::kRoot, "kept").nodeid;
  EXPECT_EQ(client().Lookup(NodeId::kRoot, "kept").attr.ino, number.ino);
  EXPECT_EQ(client().Lookup(NodeId::kRoot, "other").attr.ino, host.ino);
  EXPECT_EQ(client().Getattr(node).As<AttrOut>().attr.ino, number.ino);
  EXPECT_EQ(client().Call(Opcode::kStatx, node, Bytes(StatxIn{})).As<StatxOut>().stat.ino,
            number.ino);
  for (const bool plus : {false, true}) {
    std::map<std::string, uint64_t> listed;
    for (const FuseDirent& entry : List(NodeId::kRoot, 4096, plus)) {
      listed[entry.name] = entry.dirent.ino;
      if (plus && entry.name == "kept") {
        EXPECT_EQ(entry.entry.attr.ino, number.ino);
      }
    }
    EXPECT_EQ(listed["kept"], number.ino);
    EXPECT_EQ(listed["other"], host.ino);
  }
}

TEST_F(OpsDirTest, ListsEachEntryOnceWhateverTheSize) {
  world_.tree.Mkdir("d");
  std::set<std::string> expected = {".", ".."};
  for (int i = 0; i < 300; ++i) {
    const std::string name = std::string(static_cast<size_t>(i % 200), 'x') + std::to_string(i);
    world_.tree.Write("d/" + name, "");
    expected.insert(name);
  }
  const NodeId d = client().Walk("d");
  for (const bool plus : {false, true}) {
    for (const uint32_t size : {360u, 1000u, 4096u, 131072u, kMaxData}) {
      const std::vector<FuseDirent> list = List(d, size, plus);
      std::set<std::string> names;
      for (const FuseDirent& entry : list) names.insert(entry.name);
      EXPECT_EQ(list.size(), expected.size()) << size;
      EXPECT_EQ(names, expected) << size;
    }
  }
}

TEST_F(OpsDirTest, PlainListsCountNothingAndPlusCountsEachEntryOnce) {
  world_.tree.Mkdir("d");
  for (int i = 0; i < 50; ++i) world_.tree.Write("d/f" + std::to_string(i), "");
  const NodeId d = client().Walk("d");
  List(d, 4096, false);
  EXPECT_EQ(Lookups(), 1u);
  std::map<NodeId, uint64_t> told;
  for (const uint32_t size : {500u, 4096u}) {
    for (const FuseDirent& entry : List(d, size, true)) {
      if (entry.name == "." || entry.name == "..") {
        EXPECT_EQ(entry.entry.nodeid, NodeId::kNone);
        EXPECT_EQ(entry.entry.entry_valid, 0u);
        EXPECT_EQ(entry.entry.attr.mode, uint32_t{S_IFDIR});
        EXPECT_EQ(entry.entry.attr.ino, entry.dirent.ino);
        continue;
      }
      ++told[entry.entry.nodeid];
      EXPECT_EQ(entry.entry.attr.ino, entry.dirent.ino);
      EXPECT_EQ(entry.entry.attr.mode, S_IFREG | 0644u);
    }
  }
  EXPECT_EQ(told.size(), 50u);
  EXPECT_EQ(Lookups(), 101u);
  for (const auto& [node, count] : told) {
    EXPECT_EQ(count, 2u);
    client().Forget(node, count);
  }
  EXPECT_EQ(Lookups(), 1u);
}

TEST_F(OpsDirTest, EntriesSayTheirTypeAndTheRootsParentIsTheRoot) {
  world_.tree.Mkdir("dir");
  world_.tree.Write("file", "");
  world_.tree.Symlink("link", "x");
  world_.tree.Fifo("fifo");
  const std::map<std::string, uint32_t> types = {{".", DT_DIR},    {"..", DT_DIR},
                                                 {"dir", DT_DIR},  {"file", DT_REG},
                                                 {"link", DT_LNK}, {"fifo", DT_FIFO}};
  const uint64_t root = world_.tree.Stat("").st_ino;
  for (const FuseDirent& entry : List(NodeId::kRoot, 4096, false)) {
    EXPECT_EQ(entry.dirent.type, types.at(entry.name)) << entry.name;
    const bool is_dots = entry.name == "." || entry.name == "..";
    EXPECT_EQ(entry.dirent.ino == root, is_dots) << entry.name;
  }
  for (const FuseDirent& entry : List(client().Walk("dir"), 4096, false)) {
    EXPECT_EQ(entry.dirent.ino == root, entry.name == "..") << entry.name;
  }
}

TEST_F(OpsDirTest, ListsAreAskedForProperly) {
  world_.tree.Write("f", "");
  const HandleId fh = client().Opendir(NodeId::kRoot);
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, 0, false).body, "");
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, 31, false).error, EINVAL) << "not even one fits";
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, 159, true).error, EINVAL);
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, kMaxData + 1, false).error, ENOMEM);
  EXPECT_EQ(ReadDir(NodeId{9}, fh, 0, 4096, false).error, EBADF);
  const NodeId f = client().Walk("f");
  const HandleId file = client().Open(f, O_RDONLY);
  EXPECT_EQ(ReadDir(f, file, 0, 4096, false).error, ENOTDIR);
  client().room = 1000;
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, 985, false).error, ENOMEM);
  EXPECT_EQ(ReadDir(NodeId::kRoot, fh, 0, 984, false).error, 0);
}

TEST_F(OpsDirTest, AListGoesOnThroughChanges) {
  world_.tree.Mkdir("d");
  std::set<std::string> stays;
  for (int i = 0; i < 500; ++i) {
    const std::string name = "f" + std::to_string(i);
    world_.tree.Write("d/" + name, "");
    if (i % 2 == 0) stays.insert(name);
  }
  const NodeId d = client().Walk("d");
  const HandleId fh = client().Opendir(d);
  std::map<std::string, int> seen;
  uint64_t offset = 0;
  int round = 0;
  for (;;) {
    const FuseReply reply = ReadDir(d, fh, offset, 400, round % 2 == 0);
    ASSERT_EQ(reply.error, 0);
    if (reply.body.empty()) break;
    for (const FuseDirent& entry : ParseDirents(reply.body, round % 2 == 0)) {
      offset = entry.dirent.off;
      ++seen[entry.name];
    }
    const std::string victim = "f" + std::to_string(round * 2 + 1);
    if (world_.tree.Exists("d/" + victim)) world_.tree.Unlink("d/" + victim);
    ++round;
  }
  for (const std::string& name : stays) EXPECT_EQ(seen[name], 1) << name;
}

TEST_F(OpsDirTest, AGuestThatCannotKeepNodesStillListsAll) {
  FuseWorld small("", {.max_unreferenced_dentries = 1, .max_nodes = 20, .max_fds = 1000});
  small.Restart({});
  for (int i = 0; i < 60; ++i) small.tree.Write("f" + std::to_string(i), "");
  FuseClient& client = *small.client;
  ReadIn in = {};
  in.fh = client.Opendir(NodeId::kRoot);
  in.size = kMaxData;
  const FuseReply reply = client.Call(Opcode::kReaddirplus, NodeId::kRoot, Bytes(in));
  ASSERT_EQ(reply.error, 0);
  uint64_t with_node = 0;
  const std::vector<FuseDirent> list = ParseDirents(reply.body, true);
  for (const FuseDirent& entry : list) with_node += entry.entry.nodeid != NodeId::kNone;
  EXPECT_EQ(list.size(), 62u) << "whatever is wrong with one entry, it is listed";
  EXPECT_LT(with_node, 20u);
  EXPECT_EQ(small.session->connection()->nodes().lookups(), with_node);
}

TEST_F(OpsDirTest, MakesAndRemovesDirectories) {
  client().uid = 5;
  client().gid = 6;
  const FuseReply reply =
      client().Call(Opcode::kMkdir, NodeId::kRoot,
                    Bytes(MkdirIn{.mode = S_IFDIR | 01750, .umask = 077}) + Terminated("d"));
  ASSERT_EQ(reply.error, 0);
  EXPECT_EQ(reply.As<EntryOut>().attr.mode, S_IFDIR | 01750u);
  EXPECT_EQ(world_.tree.Stat("d").st_uid, 5u);
  EXPECT_EQ(client().Call(Opcode::kMkdir, NodeId::kRoot, Bytes(MkdirIn{}) + Terminated("d")).error,
            EEXIST);
  world_.tree.Write("d/f", "");
  EXPECT_EQ(client().Call(Opcode::kRmdir, NodeId::kRoot, Terminated("d")).error, ENOTEMPTY);
  EXPECT_EQ(client().Call(Opcode::kUnlink, NodeId::kRoot, Terminated("d")).error, EISDIR);
  const NodeId d = reply.As<EntryOut>().nodeid;
  EXPECT_EQ(client().Call(Opcode::kRmdir, d, Terminated("f")).error, ENOTDIR);
  EXPECT_EQ(client().Call(Opcode::kUnlink, d, Terminated("f")).error, 0);
  EXPECT_EQ(client().Call(Opcode::kRmdir, NodeId::kRoot, Terminated("d")).error, 0);
  EXPECT_EQ(client().Getattr(d).error, 0) << "a node until it is forgotten";
  EXPECT_EQ(client().Call(Opcode::kMkdir, d, Bytes(MkdirIn{}) + Terminated("x")).error, ENOENT);
  EXPECT_EQ(client().Call(Opcode::kLookup, d, Terminated("x")).error, ENOENT);
  EXPECT_EQ(ReadDir(d, client().Opendir(d), 0, 4096, false).error, ENOENT) << "the kernel's word";
}

// What the file belongs to in a set-group-ID directory, CVE-2022-0358.
TEST_F(OpsDirTest, SetGroupIdDirectories) {
  world_.tree.Mkdir("d");
  ASSERT_EQ(chown(world_.tree.At("d").c_str(), 0, 77), 0);
  ASSERT_EQ(chmod(world_.tree.At("d").c_str(), 02777), 0);
  const NodeId d = client().Walk("d");
  client().uid = 5;
  client().gid = 6;
  EXPECT_EQ(
      client()
          .Call(Opcode::kMkdir, d, Bytes(MkdirIn{.mode = 0755, .umask = 0}) + Terminated("sub"))
          .error,
      0);
  EXPECT_EQ(world_.tree.Stat("d/sub").st_gid, 77u);
  EXPECT_EQ(world_.tree.Stat("d/sub").st_mode & 07777, 02755u);
  client().Create(d, "stranger", O_RDWR, 02755);
  EXPECT_EQ(world_.tree.Stat("d/stranger").st_gid, 77u);
  EXPECT_EQ(world_.tree.Stat("d/stranger").st_mode & 07777, 0755u);
  // A member, as the extension says.
  const std::string groups =
      Bytes(ExtHeader{.size = 16, .type = kExtGroups}) + Bytes(uint32_t{1}) + Bytes(uint32_t{77});
  const CreateIn in = {.flags = O_RDWR, .mode = S_IFREG | 02755, .umask = 0, .open_flags = 0};
  client().extlen = 2;
  EXPECT_EQ(client().Call(Opcode::kCreate, d, Bytes(in) + Terminated("member") + groups).error, 0);
  EXPECT_EQ(world_.tree.Stat("d/member").st_mode & 07777, 02755u);
}

TEST_F(OpsDirTest, NodesOfEachType) {
  EXPECT_EQ(Mknod("zero", 0640).As<EntryOut>().attr.mode, S_IFREG | 0640u);
  EXPECT_EQ(Mknod("file", S_IFREG | 0600).As<EntryOut>().attr.mode, S_IFREG | 0600u);
  EXPECT_EQ(Mknod("fifo", S_IFIFO | 0600).As<EntryOut>().attr.mode, S_IFIFO | 0600u);
  EXPECT_EQ(Mknod("sock", S_IFSOCK | 0600).As<EntryOut>().attr.mode, S_IFSOCK | 0600u);
  EXPECT_EQ(Mknod("white", S_IFCHR).As<EntryOut>().attr.mode, uint32_t{S_IFCHR});
  EXPECT_EQ(Mknod("null", S_IFCHR | 0600, 1 << 8 | 3).error, EPERM);
  EXPECT_EQ(Mknod("disk", S_IFBLK | 0600, 0).error, EPERM);
  for (const uint32_t type : {S_IFDIR, S_IFLNK, 0170000, 0030000}) {
    EXPECT_EQ(Mknod("odd", type | 0600).error, EINVAL) << std::oct << type;
  }
  EXPECT_EQ(Mknod("file", S_IFREG).error, EEXIST);
}

TEST_F(OpsDirTest, DevicesWhereTheOptionAllowsThem) {
  world_.Restart({.make_devices = true});
  // Minor numbers above 255 are in two parts.
  const uint32_t rdev = (259u << 8) | (0x12345 & 0xff) | (0x12300u << 12);
  const FuseReply reply = Mknod("dev", S_IFCHR | 0600, rdev);
  if (reply.error == EPERM) GTEST_SKIP() << "without CAP_MKNOD";
  ASSERT_EQ(reply.error, 0);
  EXPECT_EQ(reply.As<EntryOut>().attr.rdev, rdev);
  EXPECT_EQ(world_.tree.Stat("dev").st_rdev, makedev(259, 0x12345));
}

// What Linux never sends, as it answers it itself.
TEST_F(OpsDirTest, RenamesOntoItself) {
  EXPECT_EQ(Rename(NodeId::kRoot, "missing", NodeId::kRoot, "missing").error, ENOENT);
  const NodeId node = client().Create(NodeId::kRoot, "f", O_RDWR).entry.nodeid;
  EXPECT_EQ(Rename(NodeId::kRoot, "f", NodeId::kRoot, "f").error, 0);
  EXPECT_EQ(Rename(NodeId::kRoot, "f", NodeId::kRoot, "f", RENAME_NOREPLACE).error, EEXIST);
  EXPECT_EQ(Rename(NodeId::kRoot, "f", NodeId::kRoot, "f", RENAME_EXCHANGE).error, 0);
  EXPECT_EQ(client().Lookup(NodeId::kRoot, "f").nodeid, node);
}

TEST_F(OpsDirTest, RenamesKeepNodes) {
  world_.tree.Mkdir("a");
  world_.tree.Mkdir("b");
  world_.tree.Write("a/f", "f");
  world_.tree.Write("b/g", "g");
  const NodeId a = client().Walk("a");
  const NodeId b = client().Walk("b");
  const NodeId f = client().Walk("a/f");
  const NodeId g = client().Walk("b/g");
  EXPECT_EQ(Rename(a, "f", b, "g", RENAME_NOREPLACE).error, EEXIST);
  EXPECT_EQ(Rename(a, "f", b, "g", RENAME_EXCHANGE).error, 0);
  EXPECT_EQ(client().Walk("b/g"), f);
  EXPECT_EQ(client().Walk("a/f"), g);
  EXPECT_EQ(Rename(b, "g", a, "f").error, 0);
  EXPECT_EQ(client().Walk("a/f"), f);
  EXPECT_EQ(client().Getattr(g).As<AttrOut>().attr.nlink, 0u);
  EXPECT_EQ(Rename(NodeId::kRoot, "a", b, "moved").error, 0);
  EXPECT_EQ(client().Walk("b/moved/f"), f);
  EXPECT_EQ(Rename(NodeId::kRoot, "b", a, "loop").error, EINVAL);
  EXPECT_EQ(Rename(b, "moved", b, "moved", 8).error, EINVAL);
  EXPECT_EQ(Rename(b, "moved", b, "x", 0xfffffff0).error, EINVAL);
  EXPECT_EQ(Rename(b, "missing", b, "x").error, ENOENT);
  EXPECT_EQ(Rename(b, "moved", NodeId{77}, "x").error, EBADF);
  EXPECT_EQ(Rename(b, "moved", f, "x").error, ENOTDIR);
  EXPECT_EQ(Rename(b, "moved", b, "../x").error, EINVAL);
  EXPECT_EQ(Rename(b, "..", b, "x").error, EINVAL);
}

TEST_F(OpsDirTest, Whiteouts) {
  world_.tree.Write("f", "");
  const FuseReply reply = Rename(NodeId::kRoot, "f", NodeId::kRoot, "g", RENAME_WHITEOUT);
  if (reply.error == EINVAL) GTEST_SKIP() << "this file system has no whiteouts";
  ASSERT_EQ(reply.error, 0);
  EXPECT_EQ(world_.tree.Stat("f").st_mode & S_IFMT, uint32_t{S_IFCHR});
}

TEST_F(OpsDirTest, Symlinks) {
  client().uid = 5;
  const FuseReply reply =
      client().Call(Opcode::kSymlink, NodeId::kRoot, Terminated("name") + Terminated("../target"));
  ASSERT_EQ(reply.error, 0);
  const NodeId node = reply.As<EntryOut>().nodeid;
  EXPECT_EQ(world_.tree.Stat("name").st_uid, 5u);
  EXPECT_EQ(client().Call(Opcode::kReadlink, node, "").body, "../target");
  const std::string longest(4095, 't');
  const FuseReply long_link =
      client().Call(Opcode::kSymlink, NodeId::kRoot, Terminated("long") + Terminated(longest));
  ASSERT_EQ(long_link.error, 0);
  EXPECT_EQ(client().Call(Opcode::kReadlink, long_link.As<EntryOut>().nodeid, "").body, longest);
  const auto error = [&](const std::string& args) {
    return client().Call(Opcode::kSymlink, NodeId::kRoot, args).error;
  };
  EXPECT_EQ(error(Terminated("x") + Terminated(longest + "t")), ENAMETOOLONG);
  EXPECT_EQ(error(Terminated("x") + Terminated("")), ENOENT);
  EXPECT_EQ(error(Terminated("a/b") + Terminated("t")), EINVAL);
  EXPECT_EQ(error(Terminated("name") + Terminated("t")), EEXIST);
  EXPECT_EQ(client().Call(Opcode::kReadlink, NodeId::kRoot, "").error, EINVAL);
}

TEST_F(OpsDirTest, HardLinks) {
  world_.tree.Write("f", "text");
  world_.tree.Symlink("ln", "f");
  world_.tree.Mkdir("d");
  const auto link = [&](NodeId source, NodeId dir, absl::string_view name) {
    return client().Call(Opcode::kLink, dir, Bytes(LinkIn{.oldnodeid = source}) + Terminated(name));
  };
  const NodeId f = client().Walk("f");
  const NodeId d = client().Walk("d");
  const FuseReply reply = link(f, d, "g");
  ASSERT_EQ(reply.error, 0);
  EXPECT_EQ(reply.As<EntryOut>().nodeid, f);
  EXPECT_EQ(reply.As<EntryOut>().attr.nlink, 2u);
  const NodeId ln = client().Walk("ln");
  EXPECT_EQ(link(ln, d, "ln").As<EntryOut>().nodeid, ln) << "a symlink's own";
  EXPECT_EQ(link(f, d, "g").error, EEXIST);
  EXPECT_EQ(link(d, d, "dir").error, EPERM);
  EXPECT_EQ(link(NodeId{99}, d, "x").error, EBADF);
  EXPECT_EQ(link(f, f, "x").error, ENOTDIR);
  world_.tree.Unlink("f");
  world_.tree.Unlink("d/g");
  EXPECT_NE(link(f, d, "again").error, 0);
}

}  // namespace
}  // namespace gofer::fuse
