// Scratch: what a serving thread needs for one request after the other, allocated once.
//
// Owner:   the thread that calls Session::Serve; dies before the Session. Threads: one.

#ifndef FUSE_SESSION_SCRATCH_H_
#define FUSE_SESSION_SCRATCH_H_

#include <limits.h>
#include <linux/limits.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "fuse/session/connection.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/look_ahead.h"
#include "gofer/stats/request_stats.h"

namespace gofer::fuse {

class Scratch {
 public:
  Scratch() : memory_(std::make_unique_for_overwrite<Memory>()) {}
  Scratch(Scratch&&) = default;
  Scratch& operator=(Scratch&&) = default;

  // The thread calls Session::LookAhead whenever it has nothing to serve: what it lists is looked up
  // ahead. Who may help with that, or null, outlives it.
  void LookAhead(fs::LookAhead::Helpers* helpers) {
    looks_ahead_ = true;
    helpers_ = helpers;
  }

 private:
  friend class Session;
  friend class Call;

  // The longest arguments that are not data: a value of an extended attribute with its name.
  static constexpr size_t kMaxArgs = 68 * 1024;

  struct Memory {
    std::array<std::byte, kMaxArgs> args;
    std::array<std::byte, XATTR_SIZE_MAX> value;
    std::array<struct iovec, IOV_MAX> iovecs;
  };

  std::unique_ptr<Memory> memory_;
  // The connection of the Session that this thread has served last, and which of them that is: a
  // number that no other connection of any session has had.
  RefPtr<Connection> connection_;
  uint64_t epoch_ = 0;
  bool looks_ahead_ = false;
  fs::LookAhead::Helpers* helpers_ = nullptr;
  // What this thread can go on with when it has nothing to serve.
  RefPtr<fs::LookAhead> listing_;
  // Counts for the Session that this thread has served last.
  std::unique_ptr<stats::Recorder> recorder_;
};

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_SCRATCH_H_
