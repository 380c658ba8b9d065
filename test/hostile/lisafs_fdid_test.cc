// Ids: extreme, guessed, foreign and closed ones, and access modes that do not fit. Which errno
// each message gives is in //test/conformance:checks_test; here nobody else's things may be reached
// by them. Attacks.

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "lisafs/wire/structs.h"
#include "test/hostile/hostile.h"

namespace lisafs {
namespace {

using gofer::testing::ErrorOf;
using gofer::testing::Must;
using gofer::testing::Session;
using gofer::testing::Via;

class LisafsFdid : public HostileTest {};

TEST_F(LisafsFdid, GuessedIdsReachNothingOfOthers) {
  const FdId file = honest_.Create("f", "text").control_fd;
  const FdId open = honest_.Open(file, 2);
  const std::unique_ptr<Client> thief = server_.Connect();  // has not even mounted: it owns no id
  for (uint64_t id = 0; id < 200; ++id) {
    EXPECT_EQ(ErrorOf(thief->FStat(FdId{id})), EBADF);
    EXPECT_EQ(ErrorOf(thief->OpenAt(FdId{id}, 2)), EBADF);
  }
  // Closing every number there is closes nothing of others.
  std::vector<FdId> all;
  for (uint64_t id = 0; id < 60000; ++id) all.push_back(FdId{id});
  Must(thief->Close(all));
  EXPECT_EQ(honest_.Read(open, 4), "text");
  Must(honest_->Close({file, open}));
}

TEST_F(LisafsFdid, ExtremeNumbers) {
  Session session(server_, Via::kChannel);
  for (const uint64_t id :
       {uint64_t{0}, uint64_t{255}, uint64_t{256}, uint64_t{257}, uint64_t{1} << 31,
        uint64_t{1} << 32, uint64_t{1} << 63, UINT64_MAX - 255, UINT64_MAX}) {
    EXPECT_EQ(ErrorOf(session->FStat(FdId{id})), EBADF) << id;
    Must(session->Close({FdId{id}, FdId{id}}));
  }
  EXPECT_EQ(ErrorOf(session->FStat(session.root())), 0);
}

TEST_F(LisafsFdid, NumbersAreNeverUsedTwice) {
  Session session(server_, Via::kChannel);
  uint64_t last = 0;
  for (int i = 0; i < 2000; ++i) {
    const FdId made = session.Open(session.root(), 0);
    EXPECT_GT(static_cast<uint64_t>(made), last);
    last = static_cast<uint64_t>(made);
    Must(session->Close({made}));
  }
}

TEST_F(LisafsFdid, AccessCannotBeWidened) {
  tree_.Write("served/f", "text", 0444);
  Session reader(server_, Via::kChannel, {.mount_path = "/", .readonly = true});
  OpenResult open = Must(reader->OpenAt(reader.Walk("f").control_fd, 0));
  const std::byte byte[1] = {};
  EXPECT_EQ(ErrorOf(reader->PWrite(open.fd, byte, 0)), EROFS);
  EXPECT_EQ(fcntl(open.host_fd.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_LT(pwrite(open.host_fd.get(), "x", 1, 0), 0) << "nor by the donated descriptor";
}

}  // namespace
}  // namespace lisafs
