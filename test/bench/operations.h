// The operations that are measured: each as LISAFS requests, and as the bare system calls that do
// the same on the host, which is the floor.
//
// Threads: a Worker is used by one; workers run in parallel, each on files of its own (the listed
// directory, which nobody changes, is shared).
// Errors:  an operation that fails ends the program.

#ifndef TEST_BENCH_OPERATIONS_H_
#define TEST_BENCH_OPERATIONS_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "gofer/base/unique_fd.h"
#include "lisafs/client/client.h"
#include "test/bench/worker.h"

namespace gofer::bench {

inline constexpr int kMaxThreads = 4;

enum class OperationClass { kSmall, kBulk, kListing };

struct Operation {
  const char* name;
  OperationClass size_class;
  const char* requests;  // what goes over the wire
  const char* floor;     // the bare system calls
  std::unique_ptr<Worker> (*make_lisafs)(lisafs::Calls calls, lisafs::FdId root, int thread);
  std::unique_ptr<Worker> (*make_floor)(BorrowedFd root, int thread);
};

std::span<const Operation> AllOperations();

// Fills an empty directory with the files that the operations use.
void MakeTree(const std::string& dir);

}  // namespace gofer::bench

#endif  // TEST_BENCH_OPERATIONS_H_
