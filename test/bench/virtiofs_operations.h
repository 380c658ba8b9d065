// The operations that are measured over virtio-fs: each as the requests that a Linux guest sends,
// and as the bare system calls that do the same on the host, which is the floor.
//
// Threads: one. Errors: an operation that fails ends the program.

#ifndef TEST_BENCH_VIRTIOFS_OPERATIONS_H_
#define TEST_BENCH_VIRTIOFS_OPERATIONS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "fuse/wire/abi.h"
#include "gofer/base/unique_fd.h"
#include "test/bench/pipeline.h"
#include "test/bench/worker.h"
#include "vhost/driver/fuse_client.h"

namespace gofer::bench {

inline constexpr size_t kMaxDepth = 16;
inline constexpr size_t kSmallFiles = 1024;

// What a guest has looked up and opened before the measurements begin.
struct Mounted {
  explicit Mounted(vhost::driver::FuseClient& client);

  fuse::NodeId small_dir;
  std::vector<fuse::NodeId> small_files;
  fuse::NodeId new_dir;
  fuse::NodeId listed_dir;
  fuse::NodeId data_file;
  fuse::HandleId data_handle;
};

enum class VirtiofsClass { kSmall, kBulk, kListing };

struct VirtiofsOperation {
  const char* name;
  VirtiofsClass size_class;
  const char* requests;  // what goes over the ring
  const char* floor;     // the bare system calls
  bool one_at_a_time;    // never more than one in flight
  std::unique_ptr<Stream> (*make)(const Mounted& mounted, size_t stream);
  std::unique_ptr<Worker> (*make_floor)(BorrowedFd root);
};

std::span<const VirtiofsOperation> AllVirtiofsOperations();

// Fills an empty directory with what the operations use.
void MakeVirtiofsTree(const std::string& dir);

}  // namespace gofer::bench

#endif  // TEST_BENCH_VIRTIOFS_OPERATIONS_H_
