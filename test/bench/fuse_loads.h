// What the benchmark of mounts does on a folder, whether it is mounted or not: what fio and
// smallfile do, in small.
//
// Threads: each has a Worker of its own. Errors: what fails ends the program.

#ifndef TEST_BENCH_FUSE_LOADS_H_
#define TEST_BENCH_FUSE_LOADS_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "test/bench/worker.h"

namespace gofer::bench {

struct Folder {
  std::string path;
  // What was read through it can be dropped from its own cache and is still in the host's.
  bool is_mount;
};

struct FuseLoad {
  std::string name;
  uint64_t bytes;  // that one operation moves; 0: it is about names
  std::function<std::unique_ptr<Worker>(const Folder& folder, int thread)> make;
};

std::span<const FuseLoad> AllFuseLoads();

// Makes the files that the loads work on.
void MakeFuseTree(const std::string& dir);

}  // namespace gofer::bench

#endif  // TEST_BENCH_FUSE_LOADS_H_
