// Fuzzes a connection on a real tree, request by request: no request may end the process, reach
// what is beside the tree, or get a reply that is not its own. Input: frames as a client sends
// them; a channel is not asked for.

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gofer/fs/filesystem.h"
#include "gofer/stats/request_stats.h"
#include "gofer/sys/host_fs.h"
#include "lisafs/server/connection.h"
#include "lisafs/transport/call.h"
#include "lisafs/transport/main_socket.h"
#include "test/support/temp_tree.h"

namespace {

using gofer::UniqueFd;
using gofer::testing::TempTree;

// What is served, and the canary beside it.
class World {
 public:
  World() {
    umask(0);
    tree_.Mkdir("served");
    tree_.Mkdir("beside");
    tree_.Write("beside/secret", "secret");
    Refill();
    auto proc_fds = gofer::sys::OpenProcSelfFd();
    CHECK(proc_fds.ok());
    auto filesystem =
        gofer::fs::Filesystem::Create(tree_.OpenPath("served"), *std::move(proc_fds), {});
    CHECK(filesystem.ok()) << filesystem.status();
    filesystem_ = *std::move(filesystem);
    beside_ = Beside();
  }

  gofer::fs::Filesystem& filesystem() { return *filesystem_; }

  // Between runs: the canary lives, and the tree is again what the seeds expect.
  void Check() {
    CHECK(Beside() == beside_) << "something beside the served tree was touched";
    if (++runs_ % 64 != 0) return;
    filesystem_->dentries().Purge();
    CHECK_EQ(filesystem_->dentries().size(), 1u) << "a connection has gone and left something";
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(tree_.At("served"))) {
      std::filesystem::remove_all(entry.path(), error);
    }
    Refill();
  }

 private:
  void Refill() const {
    tree_.Mkdir("served/d");
    tree_.Write("served/d/f", "hello world\n");
    tree_.Symlink("served/d/ln", "f");
    tree_.Mkdir("served/d/sub");
    tree_.Write("served/d/sub/g", "");
    tree_.Symlink("served/abs", "../beside/secret");
    tree_.Fifo("served/pipe");
  }
  std::map<std::string, std::string> Beside() const {
    const struct stat dir = tree_.Stat("beside");
    const struct stat file = tree_.Stat("beside/secret");
    return {
        {"dir", std::to_string(dir.st_ctim.tv_sec) + "." + std::to_string(dir.st_ctim.tv_nsec)},
        {"file", std::to_string(file.st_ctim.tv_sec) + "." + std::to_string(file.st_ctim.tv_nsec)}};
  }

  const TempTree tree_;
  std::unique_ptr<gofer::fs::Filesystem> filesystem_;
  std::map<std::string, std::string> beside_;
  size_t runs_ = 0;
};

lisafs::ServerOptions Options() {
  lisafs::ServerOptions options;
  options.host_uds = lisafs::HostUds::kAll;
  options.host_fifo_open = true;
  return options;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const world = new World;
  static const lisafs::ServerOptions options = Options();
  static auto* const requests =
      new gofer::stats::RequestStats(lisafs::kRequestRows, [](size_t) { return std::string(); });
  static auto* const reply = new std::vector<std::byte>(lisafs::kMaxMessageSize);
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  const UniqueFd client(fds[0]);
  auto socket = lisafs::MainSocket::Create(UniqueFd(fds[1]));
  CHECK(socket.ok());
  {
    lisafs::Connection connection(world->filesystem(), *requests, options, {}, *std::move(socket));
    while (size >= sizeof(lisafs::SocketHeader)) {
      lisafs::SocketHeader header;
      std::memcpy(&header, data, sizeof(header));
      data += sizeof(header);
      size -= sizeof(header);
      const size_t payload_size = std::min<size_t>(header.payload_len, size);
      const lisafs::Payload whole = std::as_bytes(std::span(data, payload_size));
      data += payload_size;
      size -= payload_size;
      if (header.message == lisafs::MessageId::kChannel) continue;
      const size_t private_size = lisafs::PrivateSize(header.message, whole.size());
      lisafs::Call call(header.message, whole.first(private_size), whole.subspan(private_size),
                        *reply);
      connection.Handle(call);
      CHECK(call.reply_id() == header.message || call.reply_id() == lisafs::MessageId::kError);
      CHECK(call.body.ok());
      if (call.reply_id() == lisafs::MessageId::kError) {
        CHECK_EQ(call.body.size(), sizeof(lisafs::ErrorResp));
        CHECK(call.donated.fds().empty());
      }
    }
  }
  world->Check();
  return 0;
}
