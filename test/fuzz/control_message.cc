// Fuzzes the control socket's end in the gofer: whatever a client sends before it hangs up,
// messages are received whole or refused, with no descriptor left over, and what was received can
// be sent on.
// Input: frames, each as [descriptors][size, 2 bytes][bytes]; the size that is sent may be more or
// less than the bytes that follow, by the highest bits of the first byte.

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gofer/control/frame.h"

namespace {

using gofer::UniqueFd;
using namespace gofer::control;

// Both directions must fit the socket: nobody reads while it is filled.
constexpr size_t kMaxInput = 8192;
constexpr int kMaxMessages = 64;
constexpr size_t kMaxFds = 3;

void Send(int socket, const std::string& bytes, size_t fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec part = {.iov_base = const_cast<char*>(bytes.data()), .iov_len = bytes.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fds > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds * sizeof(int));
    cmsghdr* const record = CMSG_FIRSTHDR(&message);
    record->cmsg_level = SOL_SOCKET;
    record->cmsg_type = SCM_RIGHTS;
    record->cmsg_len = CMSG_LEN(fds * sizeof(int));
    const std::vector<int> sent(fds, socket);
    std::memcpy(CMSG_DATA(record), sent.data(), fds * sizeof(int));
  }
  PCHECK(TEMP_FAILURE_RETRY(sendmsg(socket, &message, MSG_NOSIGNAL)) ==
         static_cast<ssize_t>(bytes.size()));
}

// The lowest number that is free: what leaks moves it.
int LowestFree() {
  const UniqueFd probe(dup(0));
  PCHECK(probe.valid());
  return probe.get();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kMaxInput) return 0;
  const int lowest = LowestFree();
  {
    int ends[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    const UniqueFd client(ends[0]);
    const UniqueFd gofer(ends[1]);
    // All of them have to fit into the socket before the first is read.
    for (int messages = 0; messages < kMaxMessages && size >= 3; ++messages) {
      const size_t length = std::min<size_t>(size_t{data[1]} | size_t{data[2]} << 8, size - 3);
      auto said = static_cast<uint32_t>(length);
      if ((data[0] & 0x80) != 0) said += data[0] & 0x40 ? 1 : 0x7fff'0000;
      if ((data[0] & 0x20) != 0) said /= 2;
      std::string frame(reinterpret_cast<const char*>(&said), sizeof(said));
      frame.append(reinterpret_cast<const char*>(data) + 3, length);
      Send(client.get(), frame, data[0] % (kMaxFds + 1));
      data += 3 + length;
      size -= 3 + length;
    }
    shutdown(client.get(), SHUT_WR);
    for (;;) {
      const absl::StatusOr<Received> received =
          ReceiveRequest(gofer, absl::Now() + absl::Seconds(60));
      if (!received.ok()) {
        CHECK(!absl::IsDeadlineExceeded(received.status())) << received.status();
        break;
      }
      const absl::Status sent = SendRequest(gofer, received->request, received->descriptor);
      CHECK(sent.ok()) << sent;
    }
  }
  CHECK_EQ(LowestFree(), lowest) << "a descriptor has been left open";
  return 0;
}
