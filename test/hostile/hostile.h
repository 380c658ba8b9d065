// What every test with a hostile client watches: an honest client is answered within a second,
// nothing beside the served tree is touched, and descriptors, threads and ids go back to what they
// were.
//
//   class MyTest : public HostileTest {};
//   TEST_F(MyTest, Name) { auto client = server_.Connect(); ...do harm...; }   // TearDown checks
//
// A suite that has a hostile client as a member lets it go in its own TearDown, before this one's.
//
// Source: spec/security.md s.7 and s.10.

#ifndef TEST_HOSTILE_HOSTILE_H_
#define TEST_HOSTILE_HOSTILE_H_

#include <map>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

namespace lisafs {

class HostileTest : public testing::Test {
 protected:
  explicit HostileTest(const ServerOptions& options = Permissive(),
                       const gofer::fs::FilesystemOptions& filesystem_options = {});

  void TearDown() override;

  // An honest client gets an answer soon.
  void ExpectOthersServed();
  // Every hostile client has gone: what the server held for them is given back.
  void ExpectNothingHeld();
  // Nothing beside the served tree has changed in any way.
  void ExpectBesideUntouched();

  static ServerOptions Permissive();
  static constexpr Owner kNobody = {.uid = kNoId, .gid = kNoId};

  // "served" is what the server serves; "beside" is what nobody may reach.
  gofer::testing::TempTree tree_;
  gofer::testing::TestServer server_;
  gofer::testing::Session honest_;

 private:
  std::map<std::string, std::string> Beside() const;

  std::map<std::string, std::string> beside_before_;
  size_t fds_before_ = 0;
  size_t threads_before_ = 0;
};

}  // namespace lisafs

#endif  // TEST_HOSTILE_HOSTILE_H_
