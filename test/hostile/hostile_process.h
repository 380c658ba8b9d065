// What a test with a hostile client of a whole gofer process watches: an honest client is answered
// within a second, and threads, descriptors and files go back to what they were when the others
// have gone.
//
//   class MyTest : public HostileProcessTest {};
//   TEST_F(MyTest, Name) { Start({"--max_nodes=500"}); ...; }   // TearDown checks
//
// Skips what may not make namespaces and mounts. What cannot be set up ends the test.
//
// Source: spec/security.md s.5, s.7 and s.10.

#ifndef TEST_HOSTILE_HOSTILE_PROCESS_H_
#define TEST_HOSTILE_HOSTILE_PROCESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gofer/base/errno.h"
#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/gofer_process.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {

class HostileProcessTest : public ::testing::Test {
 protected:
  HostileProcessTest();
  void SetUp() override;
  void TearDown() override;

  // `gofer serve` of served_ with sockets for LISAFS and for commands, and an honest client.
  void Start(std::vector<std::string> flags = {});
  // Has checked all, or what was done leaves nothing to check.
  void Forget() { gofer_.reset(); }

  struct Client {
    explicit Client(UniqueFd socket) : client(std::move(socket)) {}
    lisafs::Client client;
    lisafs::Inode root = {};
  };
  // Null if it is refused.
  std::unique_ptr<Client> Connect();
  // A connection that has said nothing yet.
  UniqueFd ConnectSocket(absl::string_view name);
  static ErrnoOr<lisafs::Inode> Walk(Client& client, absl::string_view name);

  void ExpectHonestServed();
  // Clients that have gone are cleared away when the next one comes: one comes and goes, names that
  // nobody refers to are dropped, and of threads there are the main one and the honest client's.
  void Settle();

  size_t Threads() const;
  // What it has of memory, counted page by page: what /proc/PID/status says may be some hundred
  // KiB off.
  int64_t ResidentKiB() const;
  // What a command of the gofer prints, as JSON.
  std::string Command(const std::string& command) const;
  int64_t StatusNumber(absl::string_view name) const;
  // What `gofer metrics` says of a limit by its name in SECURITY.md.
  struct LimitUse {
    int64_t limit = -1;
    int64_t used = -1;
  };
  LimitUse Limit(absl::string_view resource) const;

  const TempTree tree_;
  const TempTree run_;
  std::string served_;  // tree_'s path, unless a test says otherwise before Start
  std::unique_ptr<GoferProcess> gofer_;
  std::unique_ptr<Client> honest_;

 private:
  size_t base_fds_ = 0;
  int64_t base_files_ = 0;
};

}  // namespace gofer::testing

#endif  // TEST_HOSTILE_HOSTILE_PROCESS_H_
