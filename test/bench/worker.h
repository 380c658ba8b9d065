// Does one operation again and again.
//
// Threads: a Worker is used by one. Errors: an operation that fails ends the program.

#ifndef TEST_BENCH_WORKER_H_
#define TEST_BENCH_WORKER_H_

namespace gofer::bench {

class Worker {
 public:
  virtual ~Worker() = default;
  virtual void Once() = 0;
};

}  // namespace gofer::bench

#endif  // TEST_BENCH_WORKER_H_
