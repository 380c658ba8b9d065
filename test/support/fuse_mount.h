// FuseMount: a Filesystem mounted on this very machine, served by threads of the test's own
// process.
//
// Needs root and /dev/fuse. What cannot be set up ends the test.
//
// Owner:   the session and its mount, which is gone after the destructor. The Filesystem outlives
//          it.
// Threads: to be made while the test has one thread, as it forks.

#ifndef TEST_SUPPORT_FUSE_MOUNT_H_
#define TEST_SUPPORT_FUSE_MOUNT_H_

#include <cstddef>
#include <memory>
#include <string>

#include "fuse/dev/dev_fuse.h"
#include "fuse/dev/mount_keeper.h"
#include "fuse/session/options.h"
#include "fuse/session/session.h"
#include "gofer/fs/filesystem.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

struct FuseMountOptions {
  fuse::SessionOptions session;
  size_t max_threads = fuse::DevFuse::kMaxThreads;
  bool non_blocking = false;  // the descriptors of the device
};

// The tree below `name`, as a server has it.
std::unique_ptr<fs::Filesystem> ServeTree(const TempTree& tree, const std::string& name);

class FuseMount {
 public:
  FuseMount(fs::Filesystem* filesystem, const std::string& mountpoint,
            const FuseMountOptions& options = {});
  ~FuseMount();

  // As a gofer does at its end: unmounts, then serves no more.
  void Unmount();
  // As a gofer that dies: nobody serves, the mount is still there.
  void Abandon() { device_.reset(); }

  fuse::Session& session() { return session_; }
  fuse::DevFuse& device() { return *device_; }

 private:
  fuse::Session session_;
  std::unique_ptr<fuse::DevFuse> device_;
  std::unique_ptr<fuse::MountKeeper> keeper_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_FUSE_MOUNT_H_
