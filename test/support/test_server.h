// A LISAFS server in the test's own process, serving a TempTree over socket pairs: what tests talk
// to.
//
// Owner:   the server and its filesystem; stopped on destruction. The tree and clients are the
//          test's, and clients must not be used afterwards.
// Threads: safe, as the server is. What cannot be set up ends the test.

#ifndef TEST_SUPPORT_TEST_SERVER_H_
#define TEST_SUPPORT_TEST_SERVER_H_

#include <memory>
#include <string>

#include "gofer/base/unique_fd.h"
#include "gofer/fs/filesystem.h"
#include "lisafs/client/client.h"
#include "lisafs/server/options.h"
#include "lisafs/server/server.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

class TestServer {
 public:
  explicit TestServer(const TempTree& tree, const lisafs::ServerOptions& options = {},
                      const fs::FilesystemOptions& filesystem_options = {});
  // Serves a directory in the tree, so that what is beside it can be watched.
  TestServer(const TempTree& tree, const std::string& name, const lisafs::ServerOptions& options,
             const fs::FilesystemOptions& filesystem_options = {});
  ~TestServer();

  // A new connection.
  std::unique_ptr<lisafs::Client> Connect(const lisafs::ConnectionOptions& options = {});
  // Its bare socket.
  UniqueFd ConnectSocket(const lisafs::ConnectionOptions& options = {});

  // Waits until this many connections are left; false if that does not come about.
  bool WaitForConnections(size_t count);

  lisafs::Server& server() { return *server_; }
  fs::Filesystem& filesystem() { return *filesystem_; }

 private:
  std::unique_ptr<fs::Filesystem> filesystem_;
  std::unique_ptr<lisafs::Server> server_;
};

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_TEST_SERVER_H_
