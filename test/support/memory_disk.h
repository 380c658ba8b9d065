// MemoryDisk: a file system in memory on a TempTree, as small as a test wants it, or as fast.
//
//   const MemoryDisk disk(tree, "size=64k");       // options of tmpfs
//
// Owner:   the mount, which goes with it; the tree outlives it. The process gets a mount namespace
//          of its own, for good.
// Threads: while there is one. Errors: what fails ends the test at once.
// Needs:   root, see IsPrivileged.

#ifndef TEST_SUPPORT_MEMORY_DISK_H_
#define TEST_SUPPORT_MEMORY_DISK_H_

#include <sched.h>
#include <sys/mount.h>

#include <string>

#include "glog/logging.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

class MemoryDisk {
 public:
  explicit MemoryDisk(const TempTree& tree, const std::string& options = "") : path_(tree.path()) {
    PCHECK(unshare(CLONE_NEWNS) == 0);
    PCHECK(mount(nullptr, "/", nullptr, MS_PRIVATE | MS_REC, nullptr) == 0);
    PCHECK(mount("test", path_.c_str(), "tmpfs", 0, options.c_str()) == 0);
  }
  ~MemoryDisk() { umount2(path_.c_str(), MNT_DETACH); }
  MemoryDisk(const MemoryDisk&) = delete;
  MemoryDisk& operator=(const MemoryDisk&) = delete;

 private:
  const std::string path_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_MEMORY_DISK_H_
