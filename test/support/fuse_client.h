// FuseClient: a FUSE client in memory, for tests: builds the bytes of requests, hands them to a
// Session as a transport would, and takes the replies apart.
//
// A request goes in inline first, and again as a worker's when the session says so. Buffers may be
// cut at any position, and what lies behind the room for the reply is watched.
//
// Owner: the Session outlives it. Threads: one; several clients of one Session are threads of it.

#ifndef TEST_SUPPORT_FUSE_CLIENT_H_
#define TEST_SUPPORT_FUSE_CLIENT_H_

#include <sys/uio.h>

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "fuse/session/request.h"
#include "fuse/session/session.h"
#include "fuse/wire/abi.h"
#include "gofer/base/errno.h"

namespace gofer::testing {

// A struct's bytes; with strings behind it, each with its NUL.
template <typename T>
std::string Bytes(const T& value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}
std::string Terminated(absl::string_view text);

// A request in buffers of its own. Guarded: writing behind the room for the reply is noticed.
class FuseRequest final : public fuse::Request {
 public:
  // `cut` > 0: both directions come in pieces of that many bytes.
  FuseRequest(absl::string_view message, size_t room, size_t cut = 0);

  void Complete(size_t written) override;
  // Waits for Complete; returns what it was told.
  size_t Wait();
  bool completed() const;

  // The first bytes of the room.
  absl::string_view reply(size_t written) const;
  bool GuardIntact() const;
  std::string& message() { return message_; }

 private:
  std::string message_;
  std::string room_;
  const size_t room_size_;
  std::vector<struct iovec> in_;
  std::vector<struct iovec> out_;
  mutable std::mutex mu_;
  std::condition_variable done_;
  bool completed_ = false;
  size_t written_ = 0;
};

struct FuseReply {
  size_t written = 0;  // zero: there was none
  int error = 0;       // positive
  std::string body;

  template <typename T>
  T As() const {
    T value{};
    if (body.size() >= sizeof(T)) value = *reinterpret_cast<const T*>(body.data());
    return value;
  }
};

class FuseClient {
 public:
  explicit FuseClient(fuse::Session& session) : session_(session) {}

  // What the next requests say of their caller.
  uint32_t uid = 0;
  uint32_t gid = 0;
  size_t cut = 0;
  uint16_t extlen = 0;
  size_t room = fuse::kMaxMessage;

  FuseReply Call(fuse::Opcode opcode, fuse::NodeId node, absl::string_view args);
  // The same with a header that the caller has made.
  FuseReply Raw(absl::string_view message, size_t room);
  // The bytes of a request, with a true header.
  std::string Message(fuse::Opcode opcode, fuse::NodeId node, absl::string_view args);
  uint64_t last_unique() const { return unique_; }
  fuse::Outcome::Kind last_kind() const { return last_kind_; }
  fuse::Scratch& scratch() { return scratch_; }

  // INIT with all flags that Linux 6.12 offers, or others.
  static constexpr uint64_t kAllFlags = 0x1'ff'ffff'ffff & ~(1ull << 31);
  FuseReply Init(uint64_t flags = kAllFlags, uint32_t minor = fuse::kMinor,
                 uint32_t major = fuse::kMajor);
  std::string InitMessage(uint64_t flags = kAllFlags, uint32_t minor = fuse::kMinor,
                          uint32_t major = fuse::kMajor);

  // Each ends the test's process if it fails: a test cannot go on without it.
  fuse::EntryOut Lookup(fuse::NodeId parent, absl::string_view name);
  fuse::NodeId Walk(absl::string_view path);
  fuse::HandleId Open(fuse::NodeId node, uint32_t flags);
  fuse::HandleId Opendir(fuse::NodeId node);
  fuse::CreateOut Create(fuse::NodeId parent, absl::string_view name, uint32_t flags,
                         uint32_t mode = 0644);

  FuseReply Read(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, uint32_t size);
  FuseReply Write(fuse::NodeId node, fuse::HandleId fh, uint64_t offset, absl::string_view data,
                  uint32_t flags = 0, uint32_t write_flags = 0);
  FuseReply Getattr(fuse::NodeId node);
  FuseReply Setattr(fuse::NodeId node, const fuse::SetattrIn& in);
  FuseReply Release(fuse::NodeId node, fuse::HandleId fh);
  void Forget(fuse::NodeId node, uint64_t lookups);

 private:
  fuse::Session& session_;
  fuse::Scratch scratch_;
  uint64_t unique_ = 0;
  fuse::Outcome::Kind last_kind_ = fuse::Outcome::Kind::kDone;
};

// The records of a READDIR reply.
struct FuseDirent {
  std::string name;
  fuse::Dirent dirent;
  fuse::EntryOut entry;  // of READDIRPLUS
};
std::vector<FuseDirent> ParseDirents(absl::string_view body, bool plus);

}  // namespace gofer::testing

#endif  // TEST_SUPPORT_FUSE_CLIENT_H_
