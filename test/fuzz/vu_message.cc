// Fuzzes the vhost-user back-end: whatever a front-end sends before it hangs up, with descriptors
// anywhere, Serve returns, every reply is well formed, and nothing is left open. Input: frames,
// each as [id][flags][descriptors][size, 2 bytes][payload].

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "vhost/user/backend.h"
#include "vhost/user/device.h"
#include "vhost/user/message.h"

namespace {

using gofer::BorrowedFd;
using gofer::UniqueFd;
using gofer::vhost::VirtQueue;
using namespace gofer::vhost::user;

// Nobody reads replies, or sends more, while the back-end serves: both must fit the socket.
constexpr size_t kMaxInput = 8192;
constexpr size_t kMaxFrames = 64;
constexpr size_t kMaxFds = 12;

// Looks at its queues once, as a kick would make it do, and gives back what it finds.
class OneLook final : public Device {
 public:
  uint64_t features() const override { return 0; }
  std::span<const std::byte> config() const override { return config_; }
  absl::Status Attach(uint32_t, VirtQueue& queue, BorrowedFd) override {
    queue_ = &queue;
    return absl::OkStatus();
  }
  void Wake(uint32_t) override {
    gofer::vhost::DescriptorChain chain;
    gofer::vhost::DescriptorChain* const slots[] = {&chain};
    for (int i = 0; i < 8 && queue_->Take(slots) == 1; ++i) queue_->Complete(chain, 0);
    queue_->Notify();
    (void)queue_->ArmKicks();
  }
  void Detach(uint32_t) override {}
  void CancelWaiting() override {}
  void Reset() override {}

 private:
  std::array<std::byte, 44> config_ = {};
  VirtQueue* queue_ = nullptr;
};

void Send(int socket, std::span<const std::byte> frame, std::span<const int> fds) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFds * sizeof(int))] = {};
  iovec part = {.iov_base = const_cast<std::byte*>(frame.data()), .iov_len = frame.size()};
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* const record = CMSG_FIRSTHDR(&message);
    record->cmsg_level = SOL_SOCKET;
    record->cmsg_type = SCM_RIGHTS;
    record->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(record), fds.data(), fds.size() * sizeof(int));
  }
  PCHECK(TEMP_FAILURE_RETRY(sendmsg(socket, &message, MSG_NOSIGNAL)) ==
         static_cast<ssize_t>(frame.size()));
}

// Guest memory with a few rings that mean something, made once and written by all runs.
int GuestMemoryFile() {
  static const int file = [] {
    const int fd = memfd_create("guest", MFD_CLOEXEC);
    PCHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    return fd;
  }();
  return file;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size > kMaxInput) return 0;
  int ends[2];
  PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
  const UniqueFd frontend(ends[0]);
  const UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  OneLook device;
  auto backend = Backend::Create(UniqueFd(ends[1]), device, nullptr);
  CHECK(backend.ok()) << backend.status();

  for (size_t frames = 0; frames < kMaxFrames && size >= 5; ++frames) {
    const size_t wanted = size_t{data[3]} | size_t{data[4]} << 8;
    const size_t payload = std::min(wanted % (kMaxPayload + 1), size - 5);
    const MessageHeader header = {.id = MessageId{data[0]},
                                  .flags = data[1],
                                  // The last one may promise more than there is.
                                  .size = static_cast<uint32_t>(wanted)};
    std::vector<std::byte> frame(sizeof(header) + payload);
    std::memcpy(frame.data(), &header, sizeof(header));
    if (payload > 0) std::memcpy(frame.data() + sizeof(header), data + 5, payload);
    std::vector<int> fds(data[2] % (kMaxFds + 1));
    for (size_t i = 0; i < fds.size(); ++i) {
      fds[i] = (data[2] >> 4 & 1) != 0 ? event.get() : GuestMemoryFile();
    }
    Send(frontend.get(), frame, fds);
    data += 5 + payload;
    size -= 5 + payload;
  }
  shutdown(frontend.get(), SHUT_WR);
  (void)(*backend)->Serve().ok();
  CHECK((*backend)->Quiesce(absl::Seconds(60)));
  backend->reset();

  MessageHeader reply;
  while (recv(frontend.get(), &reply, sizeof(reply), MSG_WAITALL) == sizeof(reply)) {
    CHECK_EQ(reply.flags, kReplyFlags);
    CHECK_LE(reply.size, kMaxPayload);
    if (reply.size == 0) continue;
    std::vector<std::byte> payload(reply.size);
    CHECK_EQ(recv(frontend.get(), payload.data(), payload.size(), MSG_WAITALL),
             static_cast<ssize_t>(payload.size()));
  }
  return 0;
}
