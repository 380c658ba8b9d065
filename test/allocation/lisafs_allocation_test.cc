// FStat, Walk, WalkStat, PRead and PWrite allocate nothing per request, in the server nor in the
// client library that drives it: every malloc of the process is counted, after a warm-up, over a
// channel and over the socket.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/allocation/counter.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {
namespace {

using gofer::testing::Must;
using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr int kWarmUp = 600;
constexpr int kRounds = 2000;

class Allocation : public OverEachWay {
 protected:
  Allocation() : server_(tree_), session_(server_, GetParam()) {
    session_.Mkdir("a");
    session_.Mkdir("a/b");
    session_.Mkdir("a/b/c");
    file_ = session_.Create("a/b/c/f", std::string(65536, 'x')).control_fd;
    open_ = session_.Open(file_, 2);
  }

  void SetUp() override {
    if (!gofer::testing::CountsAllocations()) GTEST_SKIP() << "a sanitizer has replaced malloc";
  }

  void ExpectNone(const char* what, const std::function<void()>& request) {
    for (int i = 0; i < kWarmUp; ++i) request();
    const size_t before = gofer::testing::Allocations();
    for (int i = 0; i < kRounds; ++i) request();
    EXPECT_EQ(gofer::testing::Allocations() - before, 0u)
        << what << ", in " << kRounds << " requests";
  }

  TempTree tree_;
  TestServer server_;
  Session session_;
  FdId file_, open_;
};
INSTANTIATE_OVER_EACH_WAY(Allocation);

TEST_P(Allocation, NoneInTheHotRequests) {
  Calls& calls = session_.calls();
  const FdId root = session_.root();
  std::vector<std::byte> buffer(65536);
  const absl::string_view names[] = {"a", "b", "c", "f"};
  Inode inodes[4];
  Statx stats[4];
  ExpectNone("FStat of a ControlFd", [&] { Must(calls.FStat(file_)); });
  ExpectNone("FStat of an OpenFd", [&] { Must(calls.FStat(open_)); });
  ExpectNone("Walk of one known name, and Close", [&] {
    Must(calls.Walk(root, Names(names).first(1), inodes));
    const FdId walked[] = {inodes[0].control_fd};
    Must(calls.Close(walked));
  });
  ExpectNone("Walk of four known names, and Close", [&] {
    Must(calls.Walk(root, names, inodes));
    const FdId walked[] = {inodes[0].control_fd, inodes[1].control_fd, inodes[2].control_fd,
                           inodes[3].control_fd};
    Must(calls.Close(walked));
  });
  ExpectNone("WalkStat", [&] { Must(calls.WalkStat(root, names, stats)); });
  const std::span<std::byte> small = std::span(buffer).first(4096);
  ExpectNone("PRead of 4 KiB", [&] { Must(calls.PRead(open_, small, 0)); });
  ExpectNone("PWrite of 4 KiB", [&] { Must(calls.PWrite(open_, small, 0)); });
  ExpectNone("PRead of 64 KiB", [&] { Must(calls.PRead(open_, buffer, 0)); });
  ExpectNone("PWrite of 64 KiB", [&] { Must(calls.PWrite(open_, buffer, 0)); });
}

}  // namespace
}  // namespace lisafs
