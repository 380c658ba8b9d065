// Arguments that no honest client sends: times, offsets, lengths, modes and open flags at and past
// their ends, and a limit on the size of files. Each gets its errno, and nothing has happened.
// Attacks.
//
// Source: spec/security.md s.2 and s.10; spec/lisafs.md s.5; spec/fuse.md s.4.

#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "test/hostile/peer.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using Node = Peer::Node;

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
constexpr long kNsecPerSec = 1'000'000'000;

class FileArgs : public PeerTest {
 protected:
  void SetUp() override {
    tree_.Write("served/file", "text");
    tree_.Mkdir("served/dir");
    peer_ = Connect();
    file_ = Must(peer_->Lookup(peer_->root(), "file"));
    dir_ = Must(peer_->Lookup(peer_->root(), "dir"));
  }
  void TearDown() override {
    peer_.reset();
    PeerTest::TearDown();
  }

  std::unique_ptr<Peer> peer_;
  Node file_;
  Node dir_;
};

TEST_P(FileArgs, Times) {
  const struct timespec fine = {.tv_sec = 5, .tv_nsec = kNsecPerSec - 1};
  Must(peer_->SetTimes(file_.id, fine, fine));
  for (const long nsec :
       {kNsecPerSec, kNsecPerSec + 1, 0x3ffffffdL, 0x7fffffffL, 0x80000000L, 0xffffffffL}) {
    const struct timespec wrong = {.tv_sec = 7, .tv_nsec = nsec};
    EXPECT_EQ(ErrorOf(peer_->SetTimes(file_.id, wrong, fine)), EINVAL) << nsec;
    EXPECT_EQ(ErrorOf(peer_->SetTimes(file_.id, fine, wrong)), EINVAL) << nsec;
  }
  // What the kernel takes for "now" and "not": a sentry may say so, FUSE has bits for it.
  for (const long nsec : {long{UTIME_NOW}, long{UTIME_OMIT}}) {
    EXPECT_EQ(ErrorOf(peer_->SetTimes(file_.id, {1, nsec}, {1, nsec})), IsFuse() ? EINVAL : 0);
  }
  for (const int64_t seconds : {kMax, std::numeric_limits<int64_t>::min(), int64_t{-1}}) {
    // As far as the file system can, as for anybody.
    EXPECT_EQ(ErrorOf(peer_->SetTimes(file_.id, {seconds, 0}, {seconds, 0})), 0) << seconds;
  }
}

TEST_P(FileArgs, OffsetsAndLengths) {
  const Peer::File open = Must(peer_->Open(file_, O_RDWR));
  const uint64_t past = uint64_t{1} << 63;
  for (const uint64_t offset : {past, past + 1, UINT64_MAX - 3, UINT64_MAX}) {
    EXPECT_EQ(ErrorOf(peer_->Read(open, offset, 4)), EINVAL) << offset;
    EXPECT_EQ(ErrorOf(peer_->Write(open, offset, "text")), EINVAL) << offset;
    EXPECT_EQ(ErrorOf(peer_->SetSize(file_.id, offset)), EINVAL) << offset;
    EXPECT_EQ(ErrorOf(peer_->Allocate(open, 0, offset, 4)), EINVAL) << offset;
    EXPECT_EQ(ErrorOf(peer_->Allocate(open, 0, 0, offset)), EINVAL) << offset;
  }
  // The end would be past what can be said, or past what the file system has.
  const auto is_too_large = [](int error) { return error == EINVAL || error == EFBIG; };
  for (const uint64_t offset : {uint64_t{kMax}, uint64_t{kMax} - 1, uint64_t{kMax} - 3}) {
    EXPECT_PRED1(is_too_large, ErrorOf(peer_->Write(open, offset, "text"))) << offset;
    EXPECT_PRED1(is_too_large, ErrorOf(peer_->Allocate(open, 0, offset, 4))) << offset;
    EXPECT_PRED1(is_too_large, ErrorOf(peer_->Allocate(open, 0, 4, offset))) << offset;
    const ErrnoOr<std::string> read = peer_->Read(open, offset, 4);
    EXPECT_TRUE(read.ok() ? read->empty() : read.error() == EINVAL);
  }
  EXPECT_EQ(ErrorOf(peer_->Allocate(open, 0, 0, 0)), EINVAL);
  EXPECT_EQ(tree_.Read("served/file"), "text");
  peer_->Close(open);
}

TEST_P(FileArgs, WaysToAllocate) {
  const Peer::File open = Must(peer_->Open(file_, O_RDWR));
  constexpr uint64_t kKnown = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE |
                              FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_ZERO_RANGE |
                              FALLOC_FL_INSERT_RANGE | FALLOC_FL_UNSHARE_RANGE;
  for (uint64_t mode = 1; mode < uint64_t{1} << 32; mode <<= 1) {
    if (IsFuse() && (mode & kKnown) != 0) continue;
    EXPECT_EQ(ErrorOf(peer_->Allocate(open, mode, 0, 4096)), EOPNOTSUPP) << mode;
  }
  if (!IsFuse()) {  // where it is a number of 64 bits
    EXPECT_EQ(ErrorOf(peer_->Allocate(open, uint64_t{1} << 32, 0, 4096)), EOPNOTSUPP);
    EXPECT_EQ(ErrorOf(peer_->Allocate(open, UINT64_MAX, 0, 4096)), EOPNOTSUPP);
  }
  EXPECT_EQ(tree_.Read("served/file"), "text");
  peer_->Close(open);
  const Peer::File reading = Must(peer_->Open(file_, O_RDONLY));
  EXPECT_EQ(ErrorOf(peer_->Allocate(reading, 0, 0, 4096)), EBADF);
  peer_->Close(reading);
}

TEST_P(FileArgs, EveryModeBit) {
  for (uint32_t bit = 1; bit != 0; bit <<= 1) {
    peer_->SetMode(file_.id, 0600 | bit).ok();
    const struct stat stat = tree_.Stat("served/file");
    EXPECT_TRUE(S_ISREG(stat.st_mode)) << "a mode changes no type";
    EXPECT_EQ(stat.st_mode & 07777, 0600 | (bit & 07777)) << std::oct << bit;
  }
  for (uint32_t bit = 1; bit <= 0x8000; bit <<= 1) {
    const std::string name = absl::StrCat("made", bit);
    const ErrnoOr<Node> made = peer_->Create(peer_->root(), name, bit);
    if (!made.ok()) continue;
    const struct stat stat = tree_.Stat("served/" + name);
    EXPECT_TRUE(S_ISREG(stat.st_mode));
    EXPECT_EQ(stat.st_mode & 07777, ModeOfNew(bit));
  }
}

// Whatever is asked for, a file is opened and nothing is made, cut unless that was asked for,
// waited for, or seen through a link.
TEST_P(FileArgs, EveryOpenFlag) {
  tree_.Symlink("served/link", "file");
  const Node link = Must(peer_->Lookup(peer_->root(), "link"));
  const auto before = tree_.Snapshot();
  for (uint32_t access = 0; access < 4; ++access) {
    for (uint32_t flag = 4; flag != 0; flag <<= 1) {
      if (flag == O_TRUNC) continue;
      for (const uint32_t flags : {access | flag, access | flag | O_CREAT | O_EXCL}) {
        SCOPED_TRACE(flags);
        for (const Node& node : {file_, dir_}) {
          const ErrnoOr<Peer::File> open = peer_->Open(node, flags);
          if (!open.ok()) continue;
          // O_PATH, O_APPEND and the like have not come through: it is what it says it is.
          const bool may_read = (access & O_ACCMODE) != O_WRONLY;
          if (S_ISREG(node.mode)) {
            EXPECT_EQ(peer_->Read(*open, 0, 4).ok(), may_read && access != 3);
          }
          peer_->Close(*open);
        }
        const int error = ErrorOf(peer_->Open(link, flags));
        EXPECT_TRUE(error == EINVAL || error == ELOOP) << error;
      }
    }
  }
  EXPECT_EQ(tree_.Snapshot(), before);
}

// The process ignores SIGXFSZ, as a gofer does from its start on.
TEST_P(FileArgs, ALimitOnTheSizeOfFiles) {
  const auto old_action = signal(SIGXFSZ, SIG_IGN);
  struct rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const Peer::File open = Must(peer_->Open(file_, O_RDWR));
  const struct rlimit small = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  ErrnoOr<size_t> across = peer_->Write(open, 4090, "0123456789");
  const int past = ErrorOf(peer_->Write(open, 4096, "x"));
  const int size = ErrorOf(peer_->SetSize(file_.id, 4097));
  const int allocate = ErrorOf(peer_->Allocate(open, 0, 0, 8192));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(Must(std::move(across)), 6u) << "as much as there is room for";
  EXPECT_EQ(past, EFBIG);
  EXPECT_EQ(size, EFBIG);
  EXPECT_EQ(allocate, EFBIG);
  EXPECT_EQ(tree_.Stat("served/file").st_size, 4096);
  peer_->Close(open);
  signal(SIGXFSZ, old_action);
}

INSTANTIATE_OVER_EACH_WAY_IN(FileArgs);

}  // namespace
}  // namespace gofer::testing
