// What a client does with the descriptors it was given: flags, offsets and modes of its own, or
// never taking them. The server's own reading and writing is not affected, and nothing waits.
// Attacks.

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"
#include "test/support/stopwatch.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class Donation : public HostileTest {};

TEST_F(Donation, FlagsAndOffsetsOfTheHolderAreItsOwn) {
  Session session(server_, Via::kChannel);
  const Inode file = session.Create("f", "0123456789");
  const OpenResult open = Must(session->OpenAt(file.control_fd, 2));
  ASSERT_TRUE(open.host_fd.valid());
  ASSERT_EQ(fcntl(open.host_fd.get(), F_SETFL, O_APPEND), 0);
  EXPECT_EQ(session.Write(open.fd, "ab", 2), 2u);
  EXPECT_EQ(tree_.Read("served/f"), "01ab456789") << "written where it was asked for, not appended";
  ASSERT_EQ(lseek(open.host_fd.get(), 1 << 20, SEEK_SET), 1 << 20);
  EXPECT_EQ(session.Read(open.fd, 3), "01a");
}

TEST_F(Donation, DirectoriesAreNotDonated) {
  Session session(server_, Via::kChannel);
  EXPECT_FALSE(Must(session->OpenAt(session.root(), 0)).host_fd.valid());
  EXPECT_FALSE(Must(session->Mount()).host_fd.valid());
}

TEST_F(Donation, LocksAndLeasesOfTheHolderBlockNobody) {
  Session session(server_, Via::kChannel);
  const Inode file = session.Create("f", "text");
  const OpenResult open = Must(session->OpenAt(file.control_fd, 0));
  ASSERT_EQ(flock(open.host_fd.get(), LOCK_EX), 0);
  signal(SIGIO, SIG_IGN);                          // how a holder is told that its lease breaks
  fcntl(open.host_fd.get(), F_SETLEASE, F_RDLCK);  // where the host grants it
  const gofer::testing::Stopwatch watch;
  const auto second = session->OpenAt(file.control_fd, 2);
  EXPECT_TRUE(second.ok() || ErrorOf(second) == EAGAIN);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(2));
  ExpectOthersServed();
}

TEST_F(Donation, NeverCollectedDescriptorsBlockNothing) {
  tree_.Write("served/f", "text");
  Session session(server_, Via::kChannel);
  ChannelWay& way = session.client().channel_way(0);
  const FdId mine = session.Walk("f").control_fd;
  // Requests by hand: descriptors stay in the channel's queue until it is full.
  std::vector<FdId> opened;
  size_t announced = 0;
  for (int i = 0; i < 600; ++i) {
    const ChannelHeader header = {.message = MessageId::kOpenAt, .num_fds = 0, .pad = 0};
    const OpenAtReq request = {.fd = mine, .flags = 0, .pad = 0};
    std::memcpy(way.window().data() + sizeof(PacketHeader), &header, sizeof(header));
    std::memcpy(way.request().data(), &request, sizeof(request));
    way.data_len() = sizeof(header) + sizeof(request);
    ASSERT_EQ(ErrorOf(way.PassTurn()), 0);
    ChannelHeader reply;
    std::memcpy(&reply, way.window().data() + sizeof(PacketHeader), sizeof(reply));
    ASSERT_EQ(reply.message, MessageId::kOpenAt) << "the request itself does not fail";
    announced += reply.num_fds;
    FdId id;
    std::memcpy(&id, way.request().data(), sizeof(id));
    opened.push_back(id);
  }
  EXPECT_LT(announced, 600u) << "the queue is bounded, and what does not fit is not announced";
  EXPECT_EQ(ErrorOf(session->FStat(session.root())), 0);
  Must(session->Close(opened));
}

TEST_F(Donation, ModeChangedThroughADescriptorChangesOnlyTheFile) {
  Session session(server_, Via::kChannel);
  const Inode file = session.Create("f", "text");
  const OpenResult open = Must(session->OpenAt(file.control_fd, 2));
  ASSERT_EQ(fchmod(open.host_fd.get(), 0), 0);
  EXPECT_EQ(session.Read(open.fd, 4), "text");
  EXPECT_EQ(Must(session->FStat(file.control_fd)).mode & 07777, 0);
  EXPECT_EQ(ErrorOf(session->OpenAt(file.control_fd, 2)), 0)
      << "the client does its own permission checks";
}

}  // namespace
}  // namespace lisafs
