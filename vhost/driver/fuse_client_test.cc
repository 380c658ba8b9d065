// The driver and its FUSE client against QEMU's virtiofsd, which nobody here has written: what it
// understands and answers, we have understood.

#include "vhost/driver/fuse_client.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/machine.h"

namespace gofer::vhost::driver {
namespace {

using fuse::HandleId;
using fuse::NodeId;
using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::QemuVirtiofsd;
using gofer::testing::TempTree;
using gofer::testing::VhostDaemon;

bool MustBeReal() {
  const char* const wanted = getenv("GOFER_REQUIRE_REAL");
  return wanted != nullptr && absl::string_view(wanted) == "1";
}

class PeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (QemuVirtiofsd().empty()) {
      if (MustBeReal()) FAIL() << "QEMU's virtiofsd is not installed";
      GTEST_SKIP() << "QEMU's virtiofsd is not installed";
    }
  }
  void Connect(const MachineOptions& options = {}, const FuseClientOptions& client = {}) {
    client_.reset();
    machine_.reset();
    daemon_ = std::make_unique<VhostDaemon>(
        absl::StrCat(QemuVirtiofsd(), " --socket-path={socket} -o source={dir} -o cache=auto -f ",
                     "-o sandbox=chroot -o xattr -o posix_lock"),
        tree_.path());
    machine_ = Must(Machine::Attach(daemon_->TakeSocket(), options));
    Must(machine_->Start());
    client_ = std::make_unique<FuseClient>(machine_.get(), client);
    Must(client_->Init());
  }
  void ExpectServed() {
    const auto attr = client_->Getattr(NodeId::kRoot);
    ASSERT_TRUE(attr.ok()) << attr.error().ToString();
    EXPECT_EQ(attr->attr.ino, tree_.Stat("").st_ino);
  }

  TempTree tree_;
  std::unique_ptr<VhostDaemon> daemon_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<FuseClient> client_;
};

TEST_F(PeerTest, EveryVmmsSequenceIsTaken) {
  for (const Vmm vmm : {Vmm::kQemu7, Vmm::kQemu10, Vmm::kCloudHypervisor}) {
    SCOPED_TRACE(static_cast<int>(vmm));
    Connect({.vmm = vmm});
    ExpectServed();
    Must(machine_->Stop());
    Must(machine_->Start());
    ExpectServed();
    Must(machine_->Reboot());
    Must(client_->Init());
    ExpectServed();
  }
}

TEST_F(PeerTest, EveryShapeOfRingWorks) {
  tree_.Write("f", std::string(100000, 'x'));
  for (const uint16_t size : {32, 128, 1024}) {
    for (const bool indirect : {true, false}) {
      for (const bool event_idx : {true, false}) {
        SCOPED_TRACE(absl::StrCat(size, indirect ? " indirect" : "", event_idx ? " event" : ""));
        Connect({.queue = {.size = size, .indirect = indirect, .event_idx = event_idx}});
        const auto f = Must(client_->Lookup(NodeId::kRoot, "f"));
        const auto open = Must(client_->Open(f.nodeid, O_RDONLY));
        for (int i = 0; i < 2 * size; ++i) {
          ASSERT_EQ(Must(client_->Read(f.nodeid, open.fh, 0, 65536)).size(), 65536u);
        }
      }
    }
  }
}

TEST_F(PeerTest, TypedCallsDoWhatTheySay) {
  Connect();
  EXPECT_EQ(client_->granted().major, 7u);
  EXPECT_TRUE(client_->granted_flags() & fuse::init::kMaxPages);

  const auto dir = Must(client_->Mkdir(NodeId::kRoot, "d", 0755));
  EXPECT_TRUE(S_ISDIR(tree_.Stat("d").st_mode));
  const auto made = Must(client_->Create(dir.nodeid, "f", O_RDWR, 0640));
  EXPECT_EQ(made.entry.attr.mode, S_IFREG | 0640u);
  EXPECT_EQ(Must(client_->Write(made.entry.nodeid, made.open.fh, 0, "hello")), 5u);
  EXPECT_EQ(tree_.Read("d/f"), "hello");
  EXPECT_EQ(Must(client_->Read(made.entry.nodeid, made.open.fh, 1, 100)), "ello");
  EXPECT_EQ(Must(client_->Getattr(made.entry.nodeid)).attr.size, 5u);
  EXPECT_EQ(Must(client_->Lseek(made.entry.nodeid, made.open.fh, 0, SEEK_DATA)), 0u);
  Must(client_->Fallocate(made.entry.nodeid, made.open.fh, 0, 8192, 0));
  Must(client_->Fsync(made.entry.nodeid, made.open.fh, /*data_only=*/true));
  Must(client_->Flush(made.entry.nodeid, made.open.fh));
  Must(client_->Release(made.entry.nodeid, made.open.fh));

  fuse::SetattrIn set = {};
  set.valid = fuse::setattr::kMode | fuse::setattr::kSize;
  set.mode = 0600;
  set.size = 3;
  EXPECT_EQ(Must(client_->Setattr(made.entry.nodeid, set)).attr.size, 3u);
  EXPECT_EQ(tree_.Read("d/f"), "hel");

  const auto link = Must(client_->Symlink(dir.nodeid, "s", "../else/where"));
  EXPECT_EQ(Must(client_->Readlink(link.nodeid)), "../else/where");
  EXPECT_EQ(Must(client_->Link(made.entry.nodeid, NodeId::kRoot, "hard")).nodeid,
            made.entry.nodeid);
  Must(client_->Mknod(dir.nodeid, "fifo", S_IFIFO | 0644));
  EXPECT_TRUE(S_ISFIFO(tree_.Stat("d/fifo").st_mode));
  Must(client_->Rename(dir.nodeid, "fifo", NodeId::kRoot, "pipe"));
  EXPECT_EQ(ErrorOf(client_->Rename2(dir.nodeid, "s", NodeId::kRoot, "pipe", RENAME_NOREPLACE)),
            EEXIST);
  Must(client_->Unlink(NodeId::kRoot, "pipe"));
  EXPECT_EQ(ErrorOf(client_->Rmdir(NodeId::kRoot, "d")), ENOTEMPTY);
  EXPECT_EQ(ErrorOf(client_->Lookup(NodeId::kRoot, "none")), ENOENT);
  EXPECT_GT(Must(client_->Statfs(NodeId::kRoot)).blocks, 0u);

  Must(client_->Setxattr(made.entry.nodeid, "user.a", "value", 0));
  EXPECT_EQ(Must(client_->GetxattrSize(made.entry.nodeid, "user.a")), 5u);
  EXPECT_EQ(Must(client_->Getxattr(made.entry.nodeid, "user.a", 100)), "value");
  EXPECT_EQ(Must(client_->Listxattr(made.entry.nodeid, 100)), std::string("user.a\0", 7));
  Must(client_->Removexattr(made.entry.nodeid, "user.a"));
  EXPECT_EQ(ErrorOf(client_->Getxattr(made.entry.nodeid, "user.a", 100)), ENODATA);

  const auto open = Must(client_->Open(made.entry.nodeid, O_RDWR));
  const fuse::LkIn lock = {.fh = open.fh,
                           .owner = 1,
                           .lk = {.start = 0, .end = fuse::kLockToEnd, .type = F_WRLCK, .pid = 1},
                           .lk_flags = 0,
                           .padding = 0};
  Must(client_->Setlk(made.entry.nodeid, lock, /*wait=*/false));
  fuse::LkIn other = lock;
  other.owner = 2;
  other.lk.pid = 0;  // as Linux asks
  EXPECT_EQ(ErrorOf(client_->Setlk(made.entry.nodeid, other, /*wait=*/false)), EAGAIN);
  EXPECT_EQ(Must(client_->Getlk(made.entry.nodeid, other)).type, uint32_t{F_WRLCK});
}

TEST_F(PeerTest, OneMebibyteComesAndGoesAsItIs) {
  Connect({.queue = {.size = 1024}});
  std::string data(fuse::kMaxData, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 2654435761u >> 13);
  const auto made = Must(client_->Create(NodeId::kRoot, "big", O_RDWR, 0600));
  EXPECT_EQ(Must(client_->Write(made.entry.nodeid, made.open.fh, 5, data)), data.size());
  EXPECT_TRUE(tree_.Read("big").substr(5) == data);
  EXPECT_TRUE(Must(client_->Read(made.entry.nodeid, made.open.fh, 5, data.size())) == data);
}

TEST_F(PeerTest, AListingIsCompleteWithAttributes) {
  std::map<std::string, uint64_t> wanted;
  for (int i = 0; i < 500; ++i) {
    const std::string name = absl::StrCat("file-", i);
    tree_.Write(name, "");
    wanted[name] = tree_.Stat(name).st_ino;
  }
  Connect();
  const auto dir = Must(client_->Opendir(NodeId::kRoot));
  for (const bool plus : {false, true}) {
    std::map<std::string, uint64_t> found;
    uint64_t offset = 0;
    const auto visit = [&](const DirentView& view) {
      offset = view.fixed.off;
      if (view.name == "." || view.name == "..") return;
      found[std::string(view.name)] = view.fixed.ino;
      if (plus) {
        EXPECT_EQ(view.entry.attr.ino, view.fixed.ino);
        EXPECT_EQ(client_->lookups(view.entry.nodeid), 1u);
      }
    };
    while (Must(plus ? client_->Readdirplus(NodeId::kRoot, dir.fh, offset, 4096, visit)
                     : client_->Readdir(NodeId::kRoot, dir.fh, offset, 4096, visit)) > 0) {
    }
    EXPECT_EQ(found, wanted) << "plus " << plus;
  }
  Must(client_->Releasedir(NodeId::kRoot, dir.fh));
}

// The server's counts are ours: a node is gone exactly when all of them are given back.
TEST_F(PeerTest, LookupsAreCountedAsTheServerDoes) {
  tree_.Write("f", "");
  Connect();
  const NodeId node = Must(client_->Lookup(NodeId::kRoot, "f")).nodeid;
  EXPECT_EQ(Must(client_->Lookup(NodeId::kRoot, "f")).nodeid, node);
  EXPECT_EQ(client_->lookups(node), 2u);
  Must(client_->Forget(node, 1));
  EXPECT_EQ(ErrorOf(client_->Getattr(node)), 0);
  Must(client_->Forget(node, 1));
  EXPECT_NE(ErrorOf(client_->Getattr(node)), 0);
  EXPECT_EQ(client_->nodes_known(), 0u);

  const NodeId again = Must(client_->Lookup(NodeId::kRoot, "f")).nodeid;
  Must(client_->Lookup(NodeId::kRoot, "f"));
  Must(client_->ForgetAll());
  EXPECT_NE(ErrorOf(client_->Getattr(again)), 0);
}

TEST_F(PeerTest, SixteenAreInFlightAtOnce) {
  constexpr size_t kDepth = 16;
  constexpr size_t kRequests = 2000;
  std::vector<uint64_t> inodes;
  for (size_t i = 0; i < kDepth; ++i) {
    tree_.Write(absl::StrCat("f", i), "");
    inodes.push_back(tree_.Stat(absl::StrCat("f", i)).st_ino);
  }
  Connect({}, {.depth = kDepth, .data_bytes = 0});
  size_t sent = 0, done = 0, most = 0;
  while (done < kRequests) {
    for (Slot* slot; sent < kRequests && (slot = client_->Acquire()) != nullptr; ++sent) {
      slot->tag = sent % kDepth;
      slot->Arguments().WriteBytes(absl::StrCat("f", slot->tag, std::string(1, '\0')));
      client_->Submit(*slot, fuse::Opcode::kLookup, NodeId::kRoot,
                      {.result = sizeof(fuse::EntryOut)});
    }
    most = std::max(most, client_->in_flight());
    Slot* const slot = Must(client_->Next());
    ASSERT_EQ(slot->error(), 0);
    ASSERT_EQ(slot->Result<fuse::EntryOut>().attr.ino, inodes[slot->tag]);
    client_->Release(*slot);
    ++done;
  }
  EXPECT_EQ(most, kDepth);
}

TEST_F(PeerTest, ARawRequestIsAnswered) {
  Connect();
  fuse::InHeader header = {};
  header.opcode = fuse::Opcode::kLookup;
  header.nodeid = NodeId::kRoot;
  const auto missing = Must(client_->Raw(header, absl::string_view("none\0", 5)));
  EXPECT_EQ(missing.error, ENOENT);
  header.opcode = static_cast<fuse::Opcode>(4000);
  EXPECT_EQ(Must(client_->Raw(header, "")).error, ENOSYS);
}

TEST_F(PeerTest, ADaemonThatEndsIsNoticed) {
  Connect();
  // Children first: nobody reaps them behind our back before it is their turn.
  const std::vector<pid_t> processes = daemon_->Processes();
  for (size_t i = processes.size(); i-- > 0;) ASSERT_EQ(kill(processes[i], SIGKILL), 0);
  EXPECT_EQ(ErrorOf(client_->Getattr(NodeId::kRoot)), ESHUTDOWN);
}

}  // namespace
}  // namespace gofer::vhost::driver
