// What clients can put into the log: neither lines of their own nor control bytes, no names at the
// usual level, and not one line for each of their errors. Attack A-129.
//
// How a record is cut, and that of too many a second all but 50 are counted and left out, is in
// //gofer/server:log_output_test.
//
// Source: spec/security.md s.5, s.7 and s.10.

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "test/hostile/frames.h"
#include "test/hostile/hostile_process.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

constexpr absl::string_view kTelltale = "telltale";

class LogTest : public HostileProcessTest {
 protected:
  // Names with everything that a terminal or a reader of the log would act on.
  static std::vector<std::string> HostileNames() {
    return {absl::StrCat(kTelltale, "\nE 2030-01-01T00:00:00Z root: all is well"),
            absl::StrCat(kTelltale, "\x1b[2J\x1b]0;title\x07"),
            absl::StrCat(kTelltale, "\r\x7f\xff"), absl::StrCat("..", "/", kTelltale),
            std::string(300, 't')};
  }
  // Each by every message that has a name, and then as one that ends the connection.
  void SayThem() {
    for (const std::string& name : HostileNames()) {
      const std::unique_ptr<Client> client = Connect();
      ASSERT_NE(client, nullptr);
      const lisafs::FdId root = client->root.control_fd;
      (void)Walk(*client, name).ok();
      (void)client->client.OpenCreateAt(root, name, 0600, {}, 2).ok();
      (void)client->client.MkdirAt(root, name, 0700, {}).ok();
      (void)client->client.SymlinkAt(root, name, name, {}).ok();
      (void)client->client.RenameAt(root, name, root, "x").ok();
      (void)client->client.UnlinkAt(root, "x", 0).ok();
      (void)client->client.FSetXattr(root, name, name, 0).ok();
      const UniqueFd socket = ConnectSocket("lisafs");
      lisafs::SendAll(socket.get(), name + std::string(64, '\xff'));
    }
  }
  static void ExpectClean(const std::string& log) {
    for (const char byte : log) {
      EXPECT_TRUE(byte == '\n' || (byte >= ' ' && byte < '\x7f')) << static_cast<int>(byte);
    }
    for (const absl::string_view line : absl::StrSplit(log, '\n', absl::SkipEmpty())) {
      EXPECT_FALSE(absl::StartsWith(line, "E 2030")) << line;
      EXPECT_LT(line.size(), 700u) << line;
    }
  }
};

TEST_F(LogTest, NothingOfAClientsInTheUsualLog) {
  Start();
  SayThem();
  const std::string log = gofer_->Stderr();
  ExpectClean(log);
  EXPECT_FALSE(absl::StrContains(log, kTelltale)) << log;
}

TEST_F(LogTest, EscapedInTheDeepestLog) {
  Start({"--log_level=trace"});
  SayThem();
  ExpectClean(gofer_->Stderr());
}

// What a client does wrong is told to the client: the log does not grow with it.
TEST_F(LogTest, AFloodOfErrorsIsNotLogged) {
  Start();
  const std::string before = gofer_->Stderr();
  for (int i = 0; i < 50; ++i) SayThem();
  const std::string log = gofer_->Stderr().substr(before.size());
  EXPECT_LE(std::count(log.begin(), log.end(), '\n'), 20) << log;
}

}  // namespace
}  // namespace gofer::testing
