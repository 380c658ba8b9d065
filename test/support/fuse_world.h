// FuseWorld: a tree on disk, a Filesystem on it, a Session and a client of that: what tests of the
// session begin with.
//
// Owner: the test. Threads: as its parts.

#ifndef TEST_SUPPORT_FUSE_WORLD_H_
#define TEST_SUPPORT_FUSE_WORLD_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "fuse/session/options.h"
#include "fuse/session/session.h"
#include "gofer/fs/filesystem.h"
#include "test/support/fuse_client.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

class FuseWorld {
 public:
  // Serves the tree, or the directory `served` in it, which is made. The client has not said INIT.
  explicit FuseWorld(absl::string_view served = "", const fs::FilesystemOptions& options = {});

  // Another session, with other options, and a client of it that has been granted all it wants.
  void Restart(const fuse::SessionOptions& options, uint64_t flags = FuseClient::kAllFlags);
  // Ends the session: what it held is given back.
  void End();

  TempTree tree;
  std::unique_ptr<fs::Filesystem> filesystem;
  std::unique_ptr<fuse::Session> session;
  std::unique_ptr<FuseClient> client;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_FUSE_WORLD_H_
