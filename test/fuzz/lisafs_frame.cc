// Fuzzes the framing of the main socket: whatever a client sends before it hangs up, each whole
// frame gets one reply, in step, and what is left over gets none. Input: the client's bytes.

#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "lisafs/transport/call.h"
#include "lisafs/transport/main_socket.h"
#include "lisafs/wire/structs.h"

namespace {

// More than this many replies would fill the socket, which nobody reads while the server serves.
constexpr size_t kMaxInput = 8192;
constexpr size_t kMaxReplies = 100;

class Refuser final : public lisafs::CallHandler {
 public:
  void Handle(lisafs::Call& call) override {
    CHECK_LE(call.payload.size() + call.bulk.size(), size_t{lisafs::kMaxMessageSize});
    call.Fail(gofer::Errno(EOPNOTSUPP));
  }
};

// How many replies these bytes are worth: one for each whole frame.
size_t WholeFrames(const uint8_t* data, size_t size) {
  size_t frames = 0;
  while (size >= sizeof(lisafs::SocketHeader)) {
    lisafs::SocketHeader header;
    std::memcpy(&header, data, sizeof(header));
    if (header.payload_len > size - sizeof(header)) break;
    ++frames;
    data += sizeof(header) + header.payload_len;
    size -= sizeof(header) + header.payload_len;
  }
  return frames;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Nobody reads the replies before the server has ended: they have to fit into the socket.
  if (size > kMaxInput || WholeFrames(data, size) > kMaxReplies) return 0;
  int fds[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
  const gofer::UniqueFd client(fds[0]);
  {
    auto server = lisafs::MainSocket::Create(gofer::UniqueFd(fds[1]));
    CHECK(server.ok()) << server.error().ToString();
    PCHECK(TEMP_FAILURE_RETRY(send(client.get(), data, size, 0)) == static_cast<ssize_t>(size));
    shutdown(client.get(), SHUT_WR);
    Refuser handler;
    (*server)->Serve(handler);
  }
  size_t replies = 0;
  lisafs::SocketHeader header;
  while (recv(client.get(), &header, sizeof(header), MSG_WAITALL) == sizeof(header)) {
    CHECK(header.message == lisafs::MessageId::kError);
    lisafs::ErrorResp error;
    CHECK_EQ(header.payload_len, sizeof(error));
    CHECK_EQ(recv(client.get(), &error, sizeof(error), MSG_WAITALL),
             static_cast<ssize_t>(sizeof(error)));
    CHECK(error.errno_value == EOPNOTSUPP || error.errno_value == EIO);
    ++replies;
  }
  CHECK_EQ(replies, WholeFrames(data, size));
  return 0;
}
