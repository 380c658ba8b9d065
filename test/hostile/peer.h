// Peer: a hostile client's verbs whatever it speaks, so that an attack is written once and made
// over LISAFS's socket, its channels and a FUSE session alike.
//
//   class MyTest : public PeerTest {};
//   TEST_P(MyTest, Name) { const auto peer = Connect(); peer->Lookup(peer->root(), "f"); ... }
//   INSTANTIATE_OVER_EACH_WAY_IN(MyTest);
//
// Names, flags and numbers go out as they are. What only one of the protocols can say is not here.
//
// Owner:   of what it looked up and opened; all is given back with the peer, which goes before the
//          test's TearDown. Threads: one each; any number of peers at once.
// Errors:  the errno that the client gets. A part of LISAFS's SetStat that fails is one here.

#ifndef TEST_HOSTILE_PEER_H_
#define TEST_HOSTILE_PEER_H_

#include <sys/stat.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "fuse/session/options.h"
#include "gofer/base/errno.h"
#include "gofer/fs/filesystem.h"
#include "gtest/gtest.h"
#include "lisafs/server/options.h"
#include "test/hostile/hostile.h"

namespace gofer::testing {

enum class WayIn { kSocket, kChannel, kFuse };

class Peer {
 public:
  struct Node {
    uint64_t id = 0;
    uint64_t ino = 0;
    uint64_t size = 0;
    uint32_t mode = 0;
    uint32_t uid = 0;
    uint32_t gid = 0;
    uint32_t nlink = 0;
  };
  // An open file or directory.
  struct File {
    uint64_t node = 0;
    uint64_t id = 0;
    bool is_directory = false;
  };

  virtual ~Peer() = default;

  virtual uint64_t root() const = 0;
  virtual ErrnoOr<Node> Lookup(uint64_t dir, absl::string_view name) = 0;
  virtual ErrnoOr<Node> Stat(uint64_t node) = 0;
  // Gives one lookup back.
  virtual void Forget(uint64_t node) = 0;

  virtual ErrnoOr<File> Open(const Node& node, uint32_t flags) = 0;
  virtual void Close(const File& file) = 0;
  virtual ErrnoOr<std::string> Read(const File& file, uint64_t offset, uint32_t size) = 0;
  virtual ErrnoOr<size_t> Write(const File& file, uint64_t offset, absl::string_view data) = 0;
  virtual ErrnoOr<void> Allocate(const File& file, uint64_t mode, uint64_t offset,
                                 uint64_t length) = 0;
  // The names in an open directory, from its start, asked for in pieces of `bytes`.
  virtual ErrnoOr<std::vector<std::string>> List(const File& dir, uint32_t bytes) = 0;

  // New names; the one who asks becomes the owner.
  virtual ErrnoOr<Node> Create(uint64_t dir, absl::string_view name, uint32_t mode) = 0;
  virtual ErrnoOr<Node> Mkdir(uint64_t dir, absl::string_view name, uint32_t mode) = 0;
  virtual ErrnoOr<Node> Mknod(uint64_t dir, absl::string_view name, uint32_t mode, uint32_t major,
                              uint32_t minor) = 0;
  virtual ErrnoOr<Node> Symlink(uint64_t dir, absl::string_view name, absl::string_view target) = 0;
  virtual ErrnoOr<Node> Link(uint64_t dir, absl::string_view name, uint64_t node) = 0;
  virtual ErrnoOr<void> Unlink(uint64_t dir, absl::string_view name) = 0;
  virtual ErrnoOr<void> Rmdir(uint64_t dir, absl::string_view name) = 0;
  virtual ErrnoOr<void> Rename(uint64_t old_dir, absl::string_view old_name, uint64_t new_dir,
                               absl::string_view new_name, uint32_t flags = 0) = 0;
  virtual ErrnoOr<std::string> ReadLink(uint64_t node) = 0;

  virtual ErrnoOr<void> SetMode(uint64_t node, uint32_t mode) = 0;
  virtual ErrnoOr<void> SetOwner(uint64_t node, uint32_t uid, uint32_t gid) = 0;
  virtual ErrnoOr<void> SetSize(uint64_t node, uint64_t size) = 0;
  virtual ErrnoOr<void> SetTimes(uint64_t node, const struct timespec& atime,
                                 const struct timespec& mtime) = 0;

  virtual ErrnoOr<std::string> GetXattr(uint64_t node, absl::string_view name, uint32_t size) = 0;
  virtual ErrnoOr<void> SetXattr(uint64_t node, absl::string_view name,
                                 absl::string_view value) = 0;
  virtual ErrnoOr<std::vector<std::string>> ListXattr(uint64_t node) = 0;
  virtual ErrnoOr<void> RemoveXattr(uint64_t node, absl::string_view name) = 0;

  // Who the peer says it is when it makes something.
  uint32_t uid = 0;
  uint32_t gid = 0;
};

struct PeerOptions {
  // What a gofer grants without flags.
  lisafs::ServerOptions server = {};
  fuse::SessionOptions session = {.xattr = true, .killpriv_v2 = true};
  fs::FilesystemOptions filesystem = {};
};

// Operations of a race: 20 000 (2 000 in sanitized builds), or what the environment says in
// GOFER_RACE_OPERATIONS, which is 200 000 and more at night.
int RaceOperations();

class PeerTest : public lisafs::HostileTest, public ::testing::WithParamInterface<WayIn> {
 protected:
  explicit PeerTest(const PeerOptions& options = {});

  bool IsFuse() const { return GetParam() == WayIn::kFuse; }
  std::unique_ptr<Peer> Connect();
  std::unique_ptr<Peer> Connect(const fuse::SessionOptions& session);

  // The mode that a new file has when `mode` was asked for. A sentry expects what comes of chown(2)
  // after open(2): set-id bits go.
  uint32_t ModeOfNew(uint32_t mode) const;

 private:
  const fuse::SessionOptions session_options_;
};

// Notes how long the longest of many requests took.
class Slowest {
 public:
  template <typename F>
  auto Time(F&& call) {
    const absl::Time start = Now();
    auto result = call();
    worst_ = std::max(worst_, Now() - start);
    return result;
  }
  absl::Duration worst() const { return worst_; }

 private:
  static absl::Time Now();
  absl::Duration worst_ = absl::ZeroDuration();
};

// Another process of the host that does the same thing over and over, while it is there. `act` runs
// in a fork of a process with threads: it makes system calls and nothing else.
class Mischief {
 public:
  template <typename F>
  explicit Mischief(F act) : pid_(Fork()) {
    if (pid_ != 0) return;
    act();
    Begun();
    for (;;) act();
  }
  ~Mischief();
  Mischief(const Mischief&) = delete;
  Mischief& operator=(const Mischief&) = delete;

 private:
  // Zero in the child, which holds no descriptor of the test's and dies with it. The child's number
  // when the child has Begun.
  static pid_t Fork();
  static void Begun();
  const pid_t pid_;
};

inline std::string WayInName(const ::testing::TestParamInfo<WayIn>& info) {
  return info.param == WayIn::kSocket    ? "Socket"
         : info.param == WayIn::kChannel ? "Channel"
                                         : "Fuse";
}
#define INSTANTIATE_OVER_EACH_WAY_IN(suite)                                              \
  INSTANTIATE_TEST_SUITE_P(                                                              \
      Over, suite,                                                                       \
      ::testing::Values(gofer::testing::WayIn::kSocket, gofer::testing::WayIn::kChannel, \
                        gofer::testing::WayIn::kFuse),                                   \
      gofer::testing::WayInName)
// For what takes long: the socket does nothing that a channel does not.
#define INSTANTIATE_OVER_CHANNEL_AND_FUSE(suite)                                        \
  INSTANTIATE_TEST_SUITE_P(                                                             \
      Over, suite,                                                                      \
      ::testing::Values(gofer::testing::WayIn::kChannel, gofer::testing::WayIn::kFuse), \
      gofer::testing::WayInName)

}  // namespace gofer::testing

#endif  // TEST_HOSTILE_PEER_H_
