// What a client changes between the preparation of a save and its record is in the record: each
// operation that changes a file, over LISAFS and FUSE, with every file in use held against the
// host.

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "checkpoint/load.h"
#include "checkpoint/save.h"
#include "fuse/session/session.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gmock/gmock.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/path_repair.h"
#include "gofer/fs/prepared_files.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/host_fs.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/fuse_client.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace gofer::testing {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using fuse::Opcode;
using lisafs::FdId;
using ::testing::UnorderedElementsAre;

// A tree, and two clients that know every file of it: a sandbox and a guest.
class World {
 public:
  World() {
    tree.Mkdir("dir");
    tree.Mkdir("empty");
    tree.Write("dir/file", "content");
    tree.Write("dir/other", "other");
    tree.Write("top", "top of the tree");
    tree.Link("top", "dir/linked");
    server_.emplace(tree, lisafs::ServerOptions{.host_uds = lisafs::HostUds::kAll});
    session_.emplace(&filesystem(), fuse::SessionOptions{.xattr = true});
    sandbox.emplace(*server_, Via::kSocket);
    guest.emplace(*session_);
    CHECK_EQ(guest->Init().error, 0);
    for (const char* path : {"top", "dir", "dir/file", "dir/other", "dir/linked", "empty"}) {
      (void)Fd(path);
      (void)Node(path);
    }
    // So that times that are changed from now on are others: the kernel's clock for files is
    // coarse.
    absl::SleepFor(absl::Milliseconds(20));
  }

  FdId Fd(absl::string_view path) { return sandbox->Walk(path).control_fd; }
  FdId Open(absl::string_view path, uint32_t flags = O_RDWR) {
    return sandbox->Open(Fd(path), flags);
  }
  void Close(FdId fd) { CHECK((*sandbox)->Close({fd}).ok()); }
  NodeId Node(absl::string_view path) { return guest->Walk(path); }
  void Ask(Opcode opcode, NodeId node, absl::string_view args) {
    CHECK_EQ(guest->Call(opcode, node, args).error, 0) << static_cast<uint32_t>(opcode);
  }
  void SetStat(absl::string_view path, lisafs::SetStatReq request) {
    request.fd = Fd(path);
    CHECK_EQ((*sandbox)->SetStat(request)->failure_mask, 0u);
  }
  // Until the server has noticed it.
  void EndSandbox() {
    sandbox->client().ShutDown();
    CHECK(server_->WaitForConnections(0));
  }

  void Prepare() {
    prepared_.emplace(filesystem());
    fs::RepairPaths(filesystem(), {}, &*prepared_);
    EXPECT_EQ(prepared_->size(), 5u) << "top, dir and what is in it, empty";
    as_prepared_ = tree.StrictSnapshot();
  }
  bool ChangedSincePrepared() const { return tree.StrictSnapshot() != as_prepared_; }
  fs::FilesystemState Save() { return SaveWith(std::move(*prepared_)); }
  fs::FilesystemState SaveWith(fs::PreparedFiles prepared) {
    const checkpoint::FuseClient clients[] = {{.way = "fuse", .session = &*session_}};
    std::string payload;
    const absl::StatusOr<checkpoint::SaveResult> saved = checkpoint::Save(
        {.filesystem = filesystem(), .lisafs = server_->server(), .fuse = clients},
        {.leave_running = true},
        [&](absl::string_view bytes) {
          payload = std::string(bytes);
          return absl::OkStatus();
        },
        std::move(prepared));
    CHECK(saved.ok()) << saved.status();
    absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Decode(payload);
    CHECK(loaded.ok()) << loaded.status();
    return std::move(loaded->files);
  }

  fs::Filesystem& filesystem() { return server_->filesystem(); }

  TempTree tree;

 private:
  std::optional<TestServer> server_;
  std::optional<fuse::Session> session_;
  std::optional<fs::PreparedFiles> prepared_;
  std::map<std::string, std::string> as_prepared_;

 public:
  std::optional<Session> sandbox;
  std::optional<FuseClient> guest;
};

std::string PathOf(const fs::FilesystemState& files, uint32_t row) {
  std::string path;
  for (; files.dentries[row].parent != fs::kNoIndex; row = files.dentries[row].parent) {
    path =
        path.empty() ? files.dentries[row].name : absl::StrCat(files.dentries[row].name, "/", path);
  }
  return path;
}

fs::FileTime TimeOf(const struct timespec& time) {
  return {.sec = time.tv_sec, .nsec = static_cast<uint32_t>(time.tv_nsec)};
}

// Everything that was saved is what the host says now.
void ExpectTrue(const fs::FilesystemState& files, const TempTree& tree) {
  ASSERT_GE(files.dentries.size(), 6u);  // a guest has one node for both names of a file
  for (uint32_t row = 0; row < files.dentries.size(); ++row) {
    if (files.dentries[row].deleted) continue;
    const std::string path = PathOf(files, row);
    SCOPED_TRACE(path);
    ASSERT_TRUE(row == 0 || tree.Exists(path));
    const struct stat host = tree.Stat(path);
    const fs::InodeState& saved = files.inodes[files.dentries[row].inode];
    EXPECT_EQ(saved.type, host.st_mode & S_IFMT);
    EXPECT_EQ(saved.ino, host.st_ino);
    EXPECT_EQ(saved.size, S_ISREG(host.st_mode) ? static_cast<uint64_t>(host.st_size) : 0);
    EXPECT_EQ(saved.mtime, TimeOf(host.st_mtim));
    EXPECT_EQ(saved.ctime, TimeOf(host.st_ctim));
  }
}

struct Case {
  const char* name;
  // Prepares, and changes something after that.
  std::function<void(World&)> run;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

constexpr lisafs::SetStatReq kNothing = {
    .fd = {}, .mask = 0, .mode = 0, .uid = 0, .gid = 0, .size = 0, .atime = {}, .mtime = {}};

void SetStatOf(World& world, uint32_t mask) {
  world.Prepare();
  lisafs::SetStatReq request = kNothing;
  request.mask = mask;
  request.mode = S_IFREG | 0600;
  request.uid = 1234;
  request.size = 3;
  request.mtime = {.sec = 1'000'000'000, .nsec = 5};
  world.SetStat("dir/file", request);
}

const Case kSandbox[] = {
    {"Write",
     [](World& w) {
       w.Prepare();
       const FdId file = w.Open("dir/file");
       w.sandbox->Write(file, "and more", 7);
       w.Close(file);
     }},
    {"WriteToWhatWasOpen",
     [](World& w) {
       const FdId file = w.Open("dir/file");
       w.Prepare();
       w.sandbox->Write(file, "and more", 7);
       w.Close(file);
     }},
    {"WriteToWhatStaysOpen",
     [](World& w) {
       const FdId file = w.Open("dir/file");
       w.Prepare();
       w.sandbox->Write(file, "and more", 7);
     }},
    {"WriteByDonatedDescriptor",
     [](World& w) {
       lisafs::OpenResult file = Must((*w.sandbox)->OpenAt(w.Fd("dir/file"), O_RDWR));
       w.Prepare();
       PCHECK(pwrite(file.host_fd.get(), "and more", 8, 7) == 8);
       file.host_fd = UniqueFd();
       w.Close(file.fd);
     }},
    {"WriteByMapping",
     [](World& w) {
       lisafs::OpenResult file = Must((*w.sandbox)->OpenAt(w.Fd("dir/file"), O_RDWR));
       w.Prepare();
       void* const memory =
           mmap(nullptr, 7, PROT_READ | PROT_WRITE, MAP_SHARED, file.host_fd.get(), 0);
       PCHECK(memory != MAP_FAILED);
       std::memcpy(memory, "CONTENT", 7);
       PCHECK(munmap(memory, 7) == 0);
       w.Close(file.fd);
     }},
    {"WriteAndLeave",
     [](World& w) {
       lisafs::OpenResult file = Must((*w.sandbox)->OpenAt(w.Fd("dir/file"), O_RDWR));
       w.Prepare();
       PCHECK(pwrite(file.host_fd.get(), "and more", 8, 7) == 8);
       w.EndSandbox();
     }},
    {"Truncate", [](World& w) { SetStatOf(w, STATX_SIZE); }},
    {"ChangeMode", [](World& w) { SetStatOf(w, STATX_MODE); }},
    {"ChangeOwner", [](World& w) { SetStatOf(w, STATX_UID); }},
    {"SetTime", [](World& w) { SetStatOf(w, STATX_MTIME); }},
    {"OpenTruncating",
     [](World& w) {
       w.Prepare();
       w.Close(w.Open("dir/file", O_RDWR | O_TRUNC));
     }},
    {"Allocate",
     [](World& w) {
       w.Prepare();
       const FdId file = w.Open("dir/file");
       Must((*w.sandbox)->FAllocate(file, 0, 0, 10'000));
       w.Close(file);
     }},
    {"SetXattr",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->FSetXattr(w.Fd("dir/file"), "user.name", "value", 0));
     }},
    {"RemoveXattr",
     [](World& w) {
       Must((*w.sandbox)->FSetXattr(w.Fd("dir/file"), "user.name", "value", 0));
       absl::SleepFor(absl::Milliseconds(20));
       w.Prepare();
       Must((*w.sandbox)->FRemoveXattr(w.Fd("dir/file"), "user.name"));
     }},
    {"Create",
     [](World& w) {
       w.Prepare();
       w.sandbox->Create("dir/new", "text");
     }},
    {"MakeDirectory",
     [](World& w) {
       w.Prepare();
       w.sandbox->Mkdir("dir/new");
     }},
    {"MakeNode",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->MknodAt(w.Fd("dir"), "new", S_IFREG | 0644, {}, 0, 0));
     }},
    {"MakeSymlink",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->SymlinkAt(w.Fd("dir"), "new", "target", {}));
     }},
    {"Bind",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->BindAt(w.Fd("dir"), "new", SOCK_STREAM, S_IFSOCK | 0755, {}));
     }},
    {"Link",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->LinkAt(w.Fd("empty"), w.Fd("dir/file"), "again"));
     }},
    {"UnlinkOneOfTwo",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->UnlinkAt(w.Fd("dir"), "linked", 0));
     }},
    {"UnlinkTheLast",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->UnlinkAt(w.Fd("dir"), "file", 0));
     }},
    {"Rename",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->RenameAt(w.Fd("dir"), "file", w.Fd("empty"), "moved"));
     }},
    {"RenameOver",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->RenameAt(w.Fd("dir"), "file", w.Fd("dir"), "other"));
     }},
    {"Exchange",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->RenameAt2(w.Fd("dir"), "file", w.Fd("dir"), "other", RENAME_EXCHANGE));
     }},
    {"MoveDirectory",
     [](World& w) {
       w.Prepare();
       Must((*w.sandbox)->RenameAt(w.Fd(""), "empty", w.Fd("dir"), "moved"));
     }},
};

void SetattrOf(World& world, uint32_t valid, HandleId fh = {}) {
  fuse::SetattrIn in = {};
  in.valid = valid;
  in.fh = fh;
  in.size = 3;
  in.mode = 0600;
  in.uid = 1234;
  in.mtime = 1'000'000'000;
  CHECK_EQ(world.guest->Setattr(world.Node("dir/file"), in).error, 0);
}

// With the descriptor of an open file, which is closed again.
void SetattrOfOpen(World& world, uint32_t valid, uint32_t access) {
  const NodeId node = world.Node("dir/file");
  const HandleId fh = world.guest->Open(node, access);
  world.Prepare();
  SetattrOf(world, valid | fuse::setattr::kFh, fh);
  CHECK_EQ(world.guest->Release(node, fh).error, 0);
}

const Case kGuest[] = {
    {"Write",
     [](World& w) {
       w.Prepare();
       const NodeId node = w.Node("dir/file");
       const HandleId fh = w.guest->Open(node, O_RDWR);
       CHECK_EQ(w.guest->Write(node, fh, 7, "and more").error, 0);
       CHECK_EQ(w.guest->Release(node, fh).error, 0);
     }},
    {"WriteToWhatWasOpen",
     [](World& w) {
       const NodeId node = w.Node("dir/file");
       const HandleId fh = w.guest->Open(node, O_WRONLY);
       w.Prepare();
       CHECK_EQ(w.guest->Write(node, fh, 7, "and more").error, 0);
       CHECK_EQ(w.guest->Release(node, fh).error, 0);
     }},
    {"WriteToWhatStaysOpen",
     [](World& w) {
       const NodeId node = w.Node("dir/file");
       const HandleId fh = w.guest->Open(node, O_WRONLY);
       w.Prepare();
       CHECK_EQ(w.guest->Write(node, fh, 7, "and more").error, 0);
     }},
    {"WriteAndBeginAnew",
     [](World& w) {
       const NodeId node = w.Node("dir/file");
       const HandleId fh = w.guest->Open(node, O_WRONLY);
       w.Prepare();
       CHECK_EQ(w.guest->Write(node, fh, 7, "and more").error, 0);
       CHECK_EQ(w.guest->Init().error, 0);
     }},
    {"Truncate",
     [](World& w) {
       w.Prepare();
       SetattrOf(w, fuse::setattr::kSize);
     }},
    {"ChangeMode",
     [](World& w) {
       w.Prepare();
       SetattrOf(w, fuse::setattr::kMode);
     }},
    {"ChangeOwner",
     [](World& w) {
       w.Prepare();
       SetattrOf(w, fuse::setattr::kUid);
     }},
    {"SetTime",
     [](World& w) {
       w.Prepare();
       SetattrOf(w, fuse::setattr::kMtime);
     }},
    {"TruncateOpen", [](World& w) { SetattrOfOpen(w, fuse::setattr::kSize, O_RDWR); }},
    {"ChangeModeOfOpen", [](World& w) { SetattrOfOpen(w, fuse::setattr::kMode, O_RDONLY); }},
    {"ChangeOwnerOfOpen", [](World& w) { SetattrOfOpen(w, fuse::setattr::kUid, O_RDONLY); }},
    {"SetTimeOfOpen", [](World& w) { SetattrOfOpen(w, fuse::setattr::kMtime, O_RDONLY); }},
    {"OpenTruncating",
     [](World& w) {
       w.Prepare();
       const NodeId node = w.Node("dir/file");
       CHECK_EQ(w.guest->Release(node, w.guest->Open(node, O_WRONLY | O_TRUNC)).error, 0);
     }},
    {"Allocate",
     [](World& w) {
       w.Prepare();
       const NodeId node = w.Node("dir/file");
       const HandleId fh = w.guest->Open(node, O_WRONLY);
       w.Ask(Opcode::kFallocate, node,
             Bytes(fuse::FallocateIn{
                 .fh = fh, .offset = 0, .length = 10'000, .mode = 0, .padding = 0}));
       CHECK_EQ(w.guest->Release(node, fh).error, 0);
     }},
    {"CopyRange",
     [](World& w) {
       w.Prepare();
       const NodeId from = w.Node("dir/other");
       const NodeId to = w.Node("dir/file");
       const HandleId fh_in = w.guest->Open(from, O_RDONLY);
       const HandleId fh_out = w.guest->Open(to, O_WRONLY);
       w.Ask(Opcode::kCopyFileRange, from,
             Bytes(fuse::CopyFileRangeIn{.fh_in = fh_in,
                                         .off_in = 0,
                                         .nodeid_out = to,
                                         .fh_out = fh_out,
                                         .off_out = 7,
                                         .len = 5,
                                         .flags = 0}));
       CHECK_EQ(w.guest->Release(from, fh_in).error, 0);
       CHECK_EQ(w.guest->Release(to, fh_out).error, 0);
     }},
    {"SetXattr",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kSetxattr, w.Node("dir/file"),
             Bytes(fuse::SetxattrIn{.size = 5, .flags = 0}) + Terminated("user.name") + "value");
     }},
    {"RemoveXattr",
     [](World& w) {
       w.Ask(Opcode::kSetxattr, w.Node("dir/file"),
             Bytes(fuse::SetxattrIn{.size = 5, .flags = 0}) + Terminated("user.name") + "value");
       absl::SleepFor(absl::Milliseconds(20));
       w.Prepare();
       w.Ask(Opcode::kRemovexattr, w.Node("dir/file"), Terminated("user.name"));
     }},
    {"Create",
     [](World& w) {
       w.Prepare();
       w.guest->Create(w.Node("dir"), "new", O_RDWR);
     }},
    {"MakeDirectory",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kMkdir, w.Node("dir"),
             Bytes(fuse::MkdirIn{.mode = 0755, .umask = 0}) + Terminated("new"));
     }},
    {"MakeNode",
     [](World& w) {
       w.Prepare();
       const fuse::MknodIn in = {.mode = S_IFIFO | 0644, .rdev = 0, .umask = 0, .padding = 0};
       w.Ask(Opcode::kMknod, w.Node("dir"), Bytes(in) + Terminated("new"));
     }},
    {"MakeSymlink",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kSymlink, w.Node("dir"), Terminated("new") + Terminated("target"));
     }},
    {"Link",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kLink, w.Node("empty"),
             Bytes(fuse::LinkIn{.oldnodeid = w.Node("dir/file")}) + Terminated("again"));
     }},
    {"UnlinkOneOfTwo",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kUnlink, w.Node("dir"), Terminated("linked"));
     }},
    {"UnlinkTheLast",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kUnlink, w.Node("dir"), Terminated("file"));
     }},
    {"Rename",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kRename, w.Node("dir"),
             Bytes(fuse::RenameIn{.newdir = w.Node("empty")}) + Terminated("file") +
                 Terminated("moved"));
     }},
    {"RenameOver",
     [](World& w) {
       w.Prepare();
       w.Ask(Opcode::kRename, w.Node("dir"),
             Bytes(fuse::RenameIn{.newdir = w.Node("dir")}) + Terminated("file") +
                 Terminated("other"));
     }},
    {"Exchange",
     [](World& w) {
       w.Prepare();
       const fuse::Rename2In in = {.newdir = w.Node("dir"), .flags = RENAME_EXCHANGE, .padding = 0};
       w.Ask(Opcode::kRename2, w.Node("dir"), Bytes(in) + Terminated("file") + Terminated("other"));
     }},
};

class PreparedSaveTest : public ::testing::TestWithParam<Case> {};

TEST_P(PreparedSaveTest, SavesWhatAClientHasChanged) {
  World world;
  GetParam().run(world);
  ASSERT_TRUE(world.ChangedSincePrepared());
  ExpectTrue(world.Save(), world.tree);
}

const auto kNameOf = [](const ::testing::TestParamInfo<Case>& info) {
  return std::string(info.param.name);
};
INSTANTIATE_TEST_SUITE_P(Sandbox, PreparedSaveTest, ::testing::ValuesIn(kSandbox), kNameOf);
INSTANTIATE_TEST_SUITE_P(Guest, PreparedSaveTest, ::testing::ValuesIn(kGuest), kNameOf);

TEST(PreparedSave, WhatOthersChangeIsSaidByTheRestore) {
  World world;
  world.Prepare();
  // The host has no way to tell us. None of these is open.
  world.tree.Write("dir/file", "something longer than it was");
  world.tree.Unlink("dir/other");
  world.tree.Rename("empty", "elsewhere");
  const std::unique_ptr<fs::Filesystem> filesystem =
      *fs::Filesystem::Create(world.tree.OpenPath(), *sys::OpenProcSelfFd(), {});
  fs::TreeRestore restore(*filesystem, world.Save(), {});
  std::vector<std::string> found;
  for (const fs::Finding& finding : restore.Examine().findings) {
    found.push_back(absl::StrCat(finding.path, " ", fs::VerdictName(finding.verdict)));
  }
  EXPECT_THAT(found,
              UnorderedElementsAre("/dir/file changed", "/dir/other missing", "/empty moved"));
}

TEST(PreparedSave, WhatIsOpenIsAskedForAgain) {
  World world;
  const FdId reading = world.Open("dir/file", O_RDONLY);
  world.Prepare();
  world.tree.Write("dir/file", "something longer than it was");
  ExpectTrue(world.Save(), world.tree);
  world.Close(reading);
}

TEST(PreparedSave, OfTwoAtATimeOneKeepsNothing) {
  World world;
  world.Prepare();
  fs::PreparedFiles second(world.filesystem());
  fs::RepairPaths(world.filesystem(), {}, &second);
  EXPECT_EQ(second.size(), 0u);
  world.tree.Write("dir/file", "something longer than it was");
  ExpectTrue(world.SaveWith(std::move(second)), world.tree);
}

TEST(PreparedSave, WhatIsClosedWhileItIsPreparedIsAskedForAgain) {
  World world;
  const FdId file = world.Open("dir/file");
  fs::PreparedFiles prepared(world.filesystem());
  fs::RepairPaths(world.filesystem(),
                  {.cancel = nullptr,
                   .progress =
                       [&](uint64_t done, uint64_t) {
                         if (done == 0) return;  // all have been looked at
                         world.sandbox->Write(file, "and more", 7);
                         world.Close(file);
                       }},
                  &prepared);
  ExpectTrue(world.SaveWith(std::move(prepared)), world.tree);
}

}  // namespace
}  // namespace gofer::testing
