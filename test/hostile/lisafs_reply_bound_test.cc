// Replies at, below and above the largest message: bounded before the work starts, padding zero,
// and nothing of ours beyond them. Attacks.

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "lisafs/wire/responses.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class LisafsReplyBound : public HostileTest {};

TEST_F(LisafsReplyBound, WalksOfTooManyNamesAreRefusedBeforeTheyStart) {
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    const std::vector<absl::string_view> names(65535, "missing");
    std::vector<Inode> inodes(names.size());
    std::vector<Statx> stats(names.size());
    const auto walk = [&](size_t count) {
      return ErrorOf(session->Walk(session.root(), Names(names).first(count), inodes));
    };
    const auto walk_stat = [&](size_t count) {
      return ErrorOf(session->WalkStat(session.root(), Names(names).first(count), stats));
    };
    EXPECT_EQ(walk(kMaxWalkNames), 0);
    EXPECT_EQ(walk(kMaxWalkNames + 1), EIO);
    EXPECT_EQ(walk(65535), EIO);
    EXPECT_EQ(walk_stat(kMaxWalkStatNames), 0);
    EXPECT_EQ(walk_stat(kMaxWalkStatNames + 1), EIO);
    EXPECT_EQ(walk_stat(65535), EIO);
  }
}

TEST_F(LisafsReplyBound, WalkOfTenThousandNames) {
  constexpr size_t kDepth = 10'000;
  Session session(server_, Via::kChannel);
  std::vector<FdId> dirs = {session.root()};
  for (size_t i = 0; i < kDepth; ++i) {
    dirs.push_back(Must(session->MkdirAt(dirs.back(), "d", 0755, kNobody)).control_fd);
  }
  const std::vector<absl::string_view> path(kDepth, "d");
  std::vector<Inode> inodes(kDepth);
  const WalkResult walk = Must(session->Walk(session.root(), path, inodes));
  EXPECT_EQ(walk.count, kDepth);
  EXPECT_EQ(walk.status, WalkStatus::kSuccess);
  std::vector<Statx> stats(kDepth);
  EXPECT_EQ(Must(session->WalkStat(session.root(), path, stats)), kDepth);
  EXPECT_EQ(stats.back().ino, inodes.back().stat.ino);
  std::vector<FdId> walked;
  for (const Inode& inode : inodes) walked.push_back(inode.control_fd);
  Must(session->Close(walked));
  while (dirs.size() > 1) {
    const FdId child = dirs.back();
    dirs.pop_back();
    Must(session->Close({child}));
    Must(session->UnlinkAt(dirs.back(), "d", AT_REMOVEDIR));
  }
}

TEST_F(LisafsReplyBound, PaddingIsZeroAndNothingFollowsAReply) {
  tree_.Write("served/f", "text");
  Session session(server_, Via::kChannel);
  ChannelWay& way = session.client().channel_way(0);
  // The window is full of the client's own bytes; a reply writes its own and no more.
  std::fill(way.request().begin(), way.request().end(), std::byte{0xa5});
  Inode inode;
  Must(session->Walk(session.root(), {"f"}, std::span(&inode, 1)));
  EXPECT_EQ(inode.stat.pad, 0);
  EXPECT_EQ(inode.stat.attributes, 0u);
  for (const StatxTimestamp& time :
       {inode.stat.atime, inode.stat.btime, inode.stat.ctime, inode.stat.mtime}) {
    EXPECT_EQ(time.pad, 0);
  }
  const size_t reply_size = sizeof(WalkRespFixed) + sizeof(Inode);
  EXPECT_EQ(way.data_len().load(), sizeof(ChannelHeader) + reply_size);
  for (size_t i = reply_size; i < way.request().size(); ++i) {
    ASSERT_EQ(way.request()[i], std::byte{0xa5}) << "byte " << i << " after the reply";
  }
}

TEST_F(LisafsReplyBound, ListingOfLongNamesFits) {
  tree_.Mkdir("served/d");
  for (int i = 0; i < 12000; ++i) {
    std::string name = "served/d/" + std::to_string(i);
    name.append(9 + 250 - name.size(), 'n');
    ASSERT_EQ(mknod(tree_.At(name).c_str(), S_IFREG | 0644, 0), 0);
  }
  for (const Via via : {Via::kSocket, Via::kChannel}) {
    Session session(server_, via);
    const FdId open = session.Open(session.Walk("d").control_fd, 0);
    size_t entries = 0;
    for (int32_t count = INT32_MIN;; count = INT32_MAX) {
      const Getdents64Req request = {.dir_fd = open, .count = count, .pad = 0};
      const RawReply reply =
          Must(session->Raw(MessageId::kGetdents64, std::as_bytes(std::span(&request, 1))));
      ASSERT_EQ(reply.error(), 0);
      ASSERT_LE(reply.payload.size(), kMaxMessageSize);
      uint16_t some;
      std::memcpy(&some, reply.payload.data(), sizeof(some));
      if (some == 0) break;
      entries += some;
    }
    EXPECT_EQ(entries, 12000u);
  }
}

}  // namespace
}  // namespace lisafs
