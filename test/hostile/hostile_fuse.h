// What every test with a hostile client of a FUSE session watches: an honest session on the same
// tree is answered within a second, nothing beside the served tree is touched, and nodes, handles
// and descriptors go back to what they were when the client has gone.
//
// Source: spec/security.md s.7 and s.10.

#ifndef TEST_HOSTILE_HOSTILE_FUSE_H_
#define TEST_HOSTILE_HOSTILE_FUSE_H_

#include <map>
#include <string>

#include "gtest/gtest.h"
#include "test/support/fuse_world.h"

namespace gofer::fuse {

class HostileFuseTest : public ::testing::Test {
 protected:
  // All that a client may be granted.
  static SessionOptions Permissive();

  explicit HostileFuseTest(const SessionOptions& options = Permissive());
  void TearDown() override;

  testing::FuseClient& client() { return *world_.client; }

  // "served" is what the session serves; "beside" is what nobody may reach. In the tree are a
  // directory d with a file f, a symlink abs that leads out, and a FIFO pipe.
  testing::FuseWorld world_{"served"};

 private:
  std::map<std::string, std::string> Beside() const;

  std::map<std::string, std::string> beside_before_;
  size_t fds_before_ = 0;
};

}  // namespace gofer::fuse

#endif  // TEST_HOSTILE_HOSTILE_FUSE_H_
