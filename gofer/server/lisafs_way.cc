#include "gofer/server/lisafs_way.h"

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "lisafs/wire/responses.h"
#include "lisafs/wire/structs.h"

namespace gofer::server {

std::vector<BorrowedFd> LisafsWay::Watched() const {
  std::vector<BorrowedFd> sockets;
  for (const ListeningMount& mount : mounts_) sockets.push_back(mount.listener.fd());
  return sockets;
}

void LisafsWay::OnReadable(size_t index) {
  const ListeningMount& mount = mounts_[index];
  ErrnoOr<UniqueFd> client = mount.listener.Accept();
  if (!client.ok()) {
    if (client.error() == EAGAIN) return;
    LOG_EVERY_N(WARNING, 100) << "accept: " << client.error().ToString();
    return;
  }
  const absl::Status added = server_.AddConnection(
      *std::move(client), {.mount_path = mount.path, .readonly = mount.readonly});
  if (added.ok()) return;
  LOG_EVERY_N(WARNING, 100) << "client refused: " << added.message();
}

absl::Status LisafsWay::Wait() {
  server_.Wait();
  return absl::OkStatus();
}

std::vector<LimitUse> LisafsWay::Limits() const {
  return {{.resource = "connections",
           .limit = server_.max_connections(),
           .used = server_.num_connections()},
          {.resource = "channels_of_a_connection",
           .limit = server_.max_channels(),
           .used = server_.most_channels()},
          {.resource = "message_bytes", .limit = lisafs::kMaxMessageSize},
          {.resource = "walk_names", .limit = lisafs::kMaxWalkNames}};
}

std::string LisafsWay::state() const {
  return absl::StrCat(server_.num_connections(), " clients, ", mounts_.size(), " sockets");
}

}  // namespace gofer::server
