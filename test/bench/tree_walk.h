// The walk of a big tree by a fresh daemon, as `find -ls` in a guest: every name is looked up, and
// nothing is forgotten. Then the daemon is weighed.
//
// Errors: a request that fails is part of the result: not every daemon can hold so many files.
// Units:  as the fields say.

#ifndef TEST_BENCH_TREE_WALK_H_
#define TEST_BENCH_TREE_WALK_H_

#include <cstdint>
#include <string>

#include "gofer/base/unique_fd.h"
#include "test/bench/daemon.h"

namespace gofer::bench {

inline constexpr int kWalkedDirs = 1000;
inline constexpr int kWalkedFilesPerDir = 100;

struct WalkSample {
  std::string error = {};  // empty: all of it was walked
  double entries = 0;      // looked up
  double seconds = 0;
  double server_cpu_s = 0;
  double bytes_per_entry = 0;  // of anonymous memory that the walk has added
  double fds = 0;              // afterwards
};

// Makes the tree below "tree" in `dir`.
void MakeWalkedTree(const std::string& dir);
WalkSample WalkWithDaemon(const Contender& contender, const std::string& dir);
// The same with system calls alone, nothing held.
WalkSample WalkBare(const std::string& dir);

}  // namespace gofer::bench

#endif  // TEST_BENCH_TREE_WALK_H_
