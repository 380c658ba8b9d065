#include "test/hostile/hostile_fuse.h"

#include "absl/time/time.h"
#include "test/support/stopwatch.h"

namespace gofer::fuse {

using testing::CountOpenFds;
using testing::FuseClient;

SessionOptions HostileFuseTest::Permissive() {
  SessionOptions options;
  options.xattr = true;
  options.killpriv_v2 = true;
  options.posix_locks = true;
  options.flock_locks = true;
  return options;
}

HostileFuseTest::HostileFuseTest(const SessionOptions& options) {
  world_.tree.Mkdir("beside");
  world_.tree.Write("beside/secret", "secret");
  world_.tree.Mkdir("served/d");
  world_.tree.Write("served/d/f", "text");
  world_.tree.Symlink("served/abs", "../beside/secret");
  world_.tree.Fifo("served/pipe");
  beside_before_ = Beside();
  world_.End();
  fds_before_ = CountOpenFds();
  world_.Restart(options);
}

std::map<std::string, std::string> HostileFuseTest::Beside() const {
  std::map<std::string, std::string> lines;
  for (const auto& [name, line] : world_.tree.StrictSnapshot()) {
    if (name.rfind("beside", 0) == 0) lines[name] = line;
  }
  return lines;
}

void HostileFuseTest::TearDown() {
  {
    const testing::Stopwatch watch;
    Session honest(world_.filesystem.get(), {});
    FuseClient newcomer(honest);
    EXPECT_EQ(newcomer.Init().error, 0);
    EXPECT_EQ(newcomer.Getattr(NodeId::kRoot).error, 0);
    EXPECT_LT(watch.Elapsed(), absl::Seconds(1));
  }
  world_.End();
  world_.filesystem->dentries().Purge();
  EXPECT_EQ(world_.filesystem->dentries().size(), 1u);
  EXPECT_EQ(CountOpenFds(), fds_before_);
  EXPECT_EQ(Beside(), beside_before_);
}

}  // namespace gofer::fuse
