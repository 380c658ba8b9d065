// The machine that measures, in words, and a place on it for a tree.
//
// Errors: what cannot be made ends the program.

#ifndef TEST_BENCH_HOST_H_
#define TEST_BENCH_HOST_H_

#include <string>

namespace gofer::bench {

// A new directory in `parent`, removed with everything in it.
class ScratchDir {
 public:
  explicit ScratchDir(const std::string& parent);
  ~ScratchDir();
  ScratchDir(const ScratchDir&) = delete;
  ScratchDir& operator=(const ScratchDir&) = delete;

  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Processors, kernel, load, and the file system of `dir`.
std::string DescribeHost(const std::string& dir);

}  // namespace gofer::bench

#endif  // TEST_BENCH_HOST_H_
