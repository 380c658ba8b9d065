// Session: a mounted client that speaks over one way in, and verbs for what tests do all the time.
//
//   Session session(server, Via::kChannel);
//   const Inode file = session.Create("d/f", "text");
//   EXPECT_EQ(ErrorOf(session->UnlinkAt(file.control_fd, "x", 0)), ENOTDIR);
//
// Owner:   the client is the session's; what it walked to is closed with it. Threads: as Client.
// Errors:  verbs that return values end the test when they fail; calls through -> return them.

#ifndef TEST_SUPPORT_SESSION_H_
#define TEST_SUPPORT_SESSION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/results.h"
#include "test/support/test_server.h"

namespace gofer::testing {

enum class Via { kSocket, kChannel };

class Session {
 public:
  Session(TestServer& server, Via via, const lisafs::ConnectionOptions& options = {});

  lisafs::Calls* operator->() { return &calls_; }
  lisafs::Calls& calls() { return calls_; }
  lisafs::Client& client() { return *client_; }
  lisafs::FdId root() const { return root_.control_fd; }
  const lisafs::Inode& root_inode() const { return root_; }

  // A path below the root: ENOENT if it is not all there, ELOOP if a symlink is in the way.
  ErrnoOr<lisafs::Inode> TryWalk(absl::string_view path);
  lisafs::Inode Walk(absl::string_view path, int line = __builtin_LINE());
  // The ids of OpenAt; a donated descriptor is closed.
  lisafs::FdId Open(lisafs::FdId file, uint32_t flags, int line = __builtin_LINE());
  // Makes a file in a directory that exists, with text in it; closed again.
  lisafs::Inode Create(absl::string_view path, absl::string_view text, int line = __builtin_LINE());
  lisafs::Inode Mkdir(absl::string_view path, int line = __builtin_LINE());
  std::string Read(lisafs::FdId open_file, size_t size, uint64_t offset = 0,
                   int line = __builtin_LINE());
  size_t Write(lisafs::FdId open_file, absl::string_view text, uint64_t offset = 0,
               int line = __builtin_LINE());
  // Everything in an open directory, from the start, asked for in pieces of `count`.
  std::vector<lisafs::Dirent> List(lisafs::FdId open_dir, int32_t count = 65536,
                                   int line = __builtin_LINE());

 private:
  const std::unique_ptr<lisafs::Client> client_;
  lisafs::Inode root_;
  lisafs::Calls calls_;
};

// Runs a suite over both ways.
class OverEachWay : public ::testing::TestWithParam<Via> {};
inline std::string ViaName(const ::testing::TestParamInfo<Via>& info) {
  return info.param == Via::kSocket ? "Socket" : "Channel";
}
#define INSTANTIATE_OVER_EACH_WAY(suite)                                                           \
  INSTANTIATE_TEST_SUITE_P(                                                                        \
      Over, suite, ::testing::Values(gofer::testing::Via::kSocket, gofer::testing::Via::kChannel), \
      gofer::testing::ViaName)

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_SESSION_H_
