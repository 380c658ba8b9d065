// A guest may know many more files than the process may have descriptors: those of known files are
// given up and opened again by name, and nothing is refused for the lack of them.
//
// GOFER_WALKED_FILES=1000000 makes it a tree of a million files; the default is what a build has
// time for.

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/eventually.h"
#include "test/support/forked.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/temp_tree.h"
#include "test/support/vhost_daemon.h"
#include "vhost/driver/fuse_client.h"
#include "vhost/driver/machine.h"

namespace gofer::virtiofsd {
namespace {

using fuse::NodeId;
using testing::Must;
using vhost::driver::FuseClient;
using vhost::driver::Machine;

constexpr size_t kLimit = 4096;
constexpr size_t kFilesPerDir = 100;
// Kept open while the walk goes on: each costs a descriptor that cannot be given up.
constexpr size_t kOpenFiles = 1000;

size_t WalkedFiles() {
  const char* const wanted = std::getenv("GOFER_WALKED_FILES");
  uint64_t files = 20'000;
  if (wanted != nullptr) CHECK(absl::SimpleAtoi(wanted, &files)) << wanted;
  return files / kFilesPerDir * kFilesPerDir;
}

std::string DirName(size_t file) { return absl::StrCat("d", file / kFilesPerDir); }
std::string FileName(size_t file) { return absl::StrCat("f", file); }

class DescriptorBudgetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!testing::IsPrivileged()) GTEST_SKIP() << "needs to make namespaces and mounts";
    for (size_t file = 0; file < files_; ++file) {
      if (file % kFilesPerDir == 0) tree_.Mkdir(DirName(file));
      // Empty ones are made faster; those that are read have content.
      const std::string path = tree_.At(absl::StrCat(DirName(file), "/", FileName(file)));
      const UniqueFd made(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
      PCHECK(made.valid()) << path;
      if (!IsRead(file)) continue;
      const std::string name = FileName(file);
      PCHECK(write(made.get(), name.data(), name.size()) == static_cast<ssize_t>(name.size()));
    }
  }
  bool IsRead(size_t file) const { return file % (files_ / kOpenFiles) == 0; }

  void Walk(absl::string_view options) {
    testing::VhostDaemon daemon(
        absl::StrCat(testing::GoferBinary(),
                     " virtiofsd --shared-dir={dir} --socket-path={socket} --rlimit-nofile=",
                     kLimit, " ", options),
        tree_.path());
    std::unique_ptr<Machine> machine = Must(Machine::Attach(daemon.TakeSocket(), {}));
    Must(machine->Start());
    {
      FuseClient guest(machine.get());
      Must(guest.Init());
      WalkWith(guest);
    }
    machine.reset();
    EXPECT_EQ(daemon.Wait(testing::kPatience), 0) << daemon.Stderr();
  }

  void WalkWith(FuseClient& guest) {
    struct Opened {
      NodeId node;
      fuse::HandleId fh;
      std::string content;
    };
    std::vector<fuse::EntryOut> known;
    std::vector<Opened> opened;
    known.reserve(files_);
    NodeId dir = NodeId::kRoot;
    for (size_t file = 0; file < files_; ++file) {
      if (file % kFilesPerDir == 0) dir = Must(guest.Lookup(NodeId::kRoot, DirName(file))).nodeid;
      known.push_back(Must(guest.Lookup(dir, FileName(file))));
      if (!IsRead(file)) continue;
      const NodeId node = known.back().nodeid;
      opened.push_back({node, Must(guest.Open(node, O_RDONLY)).fh, FileName(file)});
    }
    for (const Opened& file : opened) {
      EXPECT_EQ(Must(guest.Read(file.node, file.fh, 0, 64)), file.content);
    }
    // Any of them, long after its descriptor was given up.
    std::mt19937 random(1);
    for (int i = 0; i < 2000; ++i) {
      const size_t file = random() % files_;
      const fuse::EntryOut& entry = known[file];
      const fuse::AttrOut attr = Must(guest.Getattr(entry.nodeid));
      ASSERT_EQ(attr.attr.ino, entry.attr.ino) << FileName(file);
      const fuse::HandleId fh = Must(guest.Open(entry.nodeid, O_RDWR)).fh;
      ASSERT_EQ(Must(guest.Read(entry.nodeid, fh, 0, 64)), IsRead(file) ? FileName(file) : "");
      Must(guest.Release(entry.nodeid, fh));
    }
  }

  const size_t files_ = WalkedFiles();
  testing::TempTree tree_;
};

TEST_F(DescriptorBudgetTest, AWalkOfManyMoreFilesThanDescriptors) { Walk(""); }

TEST_F(DescriptorBudgetTest, ByFileHandles) { Walk("--inode-file-handles=mandatory"); }

}  // namespace
}  // namespace gofer::virtiofsd
