// WayIn: one way by which clients reach the served tree: LISAFS sockets, a vhost-user device, a
// mount. The run loop drives any number of them side by side.
//
// Owner:   the composition root, until RunLoop::Run has returned.
// Threads: Watched, OnReadable and Stop come from one thread; Wait from another one.

#ifndef GOFER_SERVER_WAY_IN_H_
#define GOFER_SERVER_WAY_IN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "checkpoint/save.h"
#include "gofer/base/unique_fd.h"
#include "gofer/stats/request_stats.h"

namespace gofer::server {

// A bound that no client gets past, and how much of it is used now, where that is counted.
struct LimitUse {
  absl::string_view resource;
  uint64_t limit = 0;
  std::optional<uint64_t> used = std::nullopt;
};

class WayIn {
 public:
  WayIn() = default;
  WayIn(const WayIn&) = delete;
  WayIn& operator=(const WayIn&) = delete;
  virtual ~WayIn() = default;

  // For who asks how the process does: "lisafs", and "2 clients". Any thread.
  virtual absl::string_view name() const = 0;
  virtual std::string state() const = 0;

  // What its clients have asked for. Any thread.
  virtual std::vector<stats::Operation> Requests() const { return {}; }
  // What its clients may have, by the names of SECURITY.md. Any thread.
  virtual std::vector<LimitUse> Limits() const { return {}; }
  // Threads that it and its clients may have at most.
  virtual size_t MaxThreads() const { return 0; }

  // The FUSE client that it serves, or waits for; it lives as long as the way in. Any thread.
  virtual std::optional<checkpoint::FuseClient> fuse_client() const { return std::nullopt; }
  // Whether that client began with the one of an image.
  virtual bool restored() const { return false; }
  // Whether its clients can go on with another process; else they are cut off when this one ends,
  // and are no part of an image.
  virtual bool OutlivesProcess() const { return true; }

  // Descriptors to watch, such as listening sockets; asked for once, before the loop.
  virtual std::vector<BorrowedFd> Watched() const { return {}; }
  // The descriptor at `index` of Watched is readable. Never blocks.
  virtual void OnReadable(size_t index) { static_cast<void>(index); }

  // Whether it is over when its clients have gone. The process ends when all ways in are over, so
  // one that listens for ever keeps it alive.
  virtual bool EndsByItself() const = 0;
  // Returns when it is over; only called if it ends by itself. An error makes the process fail.
  virtual absl::Status Wait() = 0;
  // Begins no request any more, lets those in flight finish, and lets Wait return. May hang with
  // the host's file system; the caller sets the deadline.
  virtual void Stop() = 0;
  // Whether, now that it is over, threads that hang in the host's file system still use what it was
  // given: the process can then only end at once.
  virtual bool LeavesThreads() const { return false; }
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_WAY_IN_H_
