#include "test/hostile/hostile.h"

#include "absl/time/time.h"
#include "test/support/eventually.h"
#include "test/support/stopwatch.h"

namespace lisafs {

using gofer::testing::CountOpenFds;
using gofer::testing::CountThreads;
using gofer::testing::ErrorOf;
using gofer::testing::Eventually;
using gofer::testing::Session;
using gofer::testing::Stopwatch;
using gofer::testing::TempTree;
using gofer::testing::Via;

namespace {

// Makes what is served and what is beside it, before the server starts.
const TempTree& Prepared(const TempTree& tree) {
  tree.Mkdir("served");
  tree.Mkdir("beside");
  tree.Write("beside/secret", "secret");
  tree.Mkdir("beside/dir");
  return tree;
}

}  // namespace

ServerOptions HostileTest::Permissive() {
  ServerOptions options;
  options.host_uds = HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

HostileTest::HostileTest(const ServerOptions& options,
                         const gofer::fs::FilesystemOptions& filesystem_options)
    : server_(Prepared(tree_), "served", options, filesystem_options),
      honest_(server_, Via::kSocket) {
  beside_before_ = Beside();
  fds_before_ = CountOpenFds();
  threads_before_ = CountThreads();
}

std::map<std::string, std::string> HostileTest::Beside() const {
  std::map<std::string, std::string> lines;
  for (const auto& [name, line] : tree_.StrictSnapshot()) {
    if (name.rfind("beside", 0) == 0) lines[name] = line;
  }
  return lines;
}

void HostileTest::ExpectOthersServed() {
  const Stopwatch watch;
  EXPECT_EQ(ErrorOf(honest_->FStat(honest_.root())), 0);
  Session newcomer(server_, Via::kChannel);
  EXPECT_EQ(ErrorOf(newcomer->FStat(newcomer.root())), 0);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
}

void HostileTest::ExpectNothingHeld() {
  ASSERT_TRUE(server_.WaitForConnections(1))
      << "a connection whose client has gone is still served";
  // The tree's own cache keeps descriptors on purpose, up to a bound.
  server_.filesystem().dentries().Purge();
  // A connection counts as gone a moment before its thread is joined, which the next connection
  // does.
  { Session newcomer(server_, Via::kSocket); }
  ASSERT_TRUE(server_.WaitForConnections(1));
  // One more of each: that newcomer's, until the one after it.
  EXPECT_TRUE(Eventually([&] { return CountOpenFds() <= fds_before_ + 1; })) << CountOpenFds();
  EXPECT_TRUE(Eventually([&] { return CountThreads() <= threads_before_ + 1; })) << CountThreads();
}

void HostileTest::ExpectBesideUntouched() { EXPECT_EQ(Beside(), beside_before_); }

void HostileTest::TearDown() {
  ExpectOthersServed();
  ExpectNothingHeld();
  ExpectBesideUntouched();
}

}  // namespace lisafs
