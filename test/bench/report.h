// What was measured, and how it is shown: a table for people, JSON for programs, and how it stands
// against the targets.
//
// Threads: one. Units: as the fields say.

#ifndef TEST_BENCH_REPORT_H_
#define TEST_BENCH_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "test/bench/operations.h"
#include "test/bench/runner.h"

namespace gofer::bench {

// An operation over one way with a number of threads; a sample per round from each of the three.
struct Cell {
  const Operation* operation;
  bool over_channel;
  int threads;
  std::vector<Sample> ours;
  std::vector<Sample> theirs;
  const std::vector<Sample>* floor;  // of the same operation and number of threads
};

// A fresh process, several times.
struct StartCost {
  std::string name;
  std::vector<double> ready_ms =
      {};  // to the newline on the ready descriptor; empty if it has none
  std::vector<double> first_reply_ms = {};
  std::vector<double> private_kib = {};  // idle, one connection mounted
  std::vector<double> anonymous_kib = {};
};

struct Report {
  std::string host;  // processors, kernel, file system
  uint64_t cell_ms = 0;
  int rounds = 0;
  std::vector<Cell> cells = {};
  std::vector<StartCost> starts = {};  // ours first

  std::string Text() const;
  std::string Json() const;
};

}  // namespace gofer::bench

#endif  // TEST_BENCH_REPORT_H_
