// What was measured over virtio-fs, and how it is shown: a table for people, JSON for programs, and
// how it stands against the targets.
//
// Threads: one. Units: as the fields say.

#ifndef TEST_BENCH_VIRTIOFS_REPORT_H_
#define TEST_BENCH_VIRTIOFS_REPORT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "test/bench/runner.h"
#include "test/bench/tree_walk.h"
#include "test/bench/virtiofs_operations.h"

namespace gofer::bench {

// An operation with a number of requests in flight; a sample per round from each daemon.
struct VirtiofsCell {
  const VirtiofsOperation* operation;
  size_t depth;
  std::vector<std::vector<Sample>> daemons;  // in the order of the contenders
  std::vector<Sample> floor = {};            // one thread
};

struct VirtiofsWalks {
  std::string name;
  std::vector<WalkSample> rounds = {};
};

struct VirtiofsReport {
  std::string host;    // processors, kernel, file system
  std::string client;  // how it waits
  uint64_t cell_ms = 0;
  int rounds = 0;
  std::vector<Contender> contenders = {};  // ours first
  std::vector<VirtiofsCell> cells = {};
  std::vector<VirtiofsWalks> walks = {};  // the contenders', in their order
  VirtiofsWalks bare_walks = {};
  // Ours with --rlimit-nofile; empty if it was not asked for.
  VirtiofsWalks limited_walks = {};

  std::string Text() const;
  std::string Json() const;
};

}  // namespace gofer::bench

#endif  // TEST_BENCH_VIRTIOFS_REPORT_H_
