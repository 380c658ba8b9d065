// LISAFS as a way in: connections that were handed down, and sockets that are listened on.
//
// Owner:   borrows the lisafs::Server. Threads: as WayIn says.

#ifndef GOFER_SERVER_LISAFS_WAY_H_
#define GOFER_SERVER_LISAFS_WAY_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "gofer/server/listener.h"
#include "gofer/server/way_in.h"
#include "gofer/stats/request_stats.h"
#include "lisafs/server/server.h"

namespace gofer::server {

// Each client that connects is one mount of `path`.
struct ListeningMount {
  Listener listener;
  std::string path;
  bool readonly;
};

class LisafsWay : public WayIn {
 public:
  LisafsWay(lisafs::Server& server, std::vector<ListeningMount> mounts)
      : server_(server), mounts_(std::move(mounts)) {}

  std::vector<BorrowedFd> Watched() const override;
  void OnReadable(size_t index) override;
  bool EndsByItself() const override { return mounts_.empty(); }
  absl::Status Wait() override;
  void Stop() override { server_.Stop(); }
  absl::string_view name() const override { return "lisafs"; }
  std::string state() const override;
  std::vector<stats::Operation> Requests() const override { return server_.requests().Read(); }
  std::vector<LimitUse> Limits() const override;
  size_t MaxThreads() const override { return server_.max_threads(); }

 private:
  lisafs::Server& server_;
  const std::vector<ListeningMount> mounts_;
};

}  // namespace gofer::server

#endif  // GOFER_SERVER_LISAFS_WAY_H_
