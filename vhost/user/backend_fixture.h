// A back-end with a device that serves nothing, and a front-end that speaks to it.
//
// Owner:   the test. Threads: the back-end serves in one of its own.

#ifndef VHOST_USER_BACKEND_FIXTURE_H_
#define VHOST_USER_BACKEND_FIXTURE_H_

#include <limits.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gtest/gtest.h"
#include "test/support/results.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/user/backend.h"
#include "vhost/user/device.h"
#include "vhost/user/message.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::user {

using driver::Frontend;
using driver::GuestRam;
using driver::RamBlock;
using testing::Must;
using Ack = Frontend::Ack;

inline constexpr uint64_t kAccepted =
    kFeatureVersion1 | kFeatureProtocolFeatures | kFeatureIndirectDesc | kFeatureEventIdx;

class IdleDevice final : public Device {
 public:
  uint64_t features() const override { return 0; }
  std::span<const std::byte> config() const override { return config_; }
  absl::Status Attach(uint32_t index, VirtQueue& queue, BorrowedFd) override {
    if (refuses) return absl::ResourceExhaustedError("no more descriptors");
    attached[index] = &queue;
    return absl::OkStatus();
  }
  void Wake(uint32_t) override { ++wakes; }
  void Detach(uint32_t index) override { attached[index] = nullptr; }
  void CancelWaiting() override { ++cancels; }
  void Reset() override { ++resets; }

  std::vector<std::byte> config_;
  std::array<VirtQueue*, kMaxQueues> attached = {};
  bool refuses = false;
  int wakes = 0;
  int cancels = 0;
  int resets = 0;
};

// Saves and loads a text, in pieces that fill a pipe.
class TextState final : public DeviceStateHandler {
 public:
  absl::Status Save(BorrowedFd stream, BorrowedFd given_up) override {
    for (size_t done = 0; done < text.size();) {
      struct pollfd entries[] = {{.fd = stream.get(), .events = POLLOUT, .revents = 0},
                                 {.fd = given_up.get(), .events = POLLIN, .revents = 0}};
      PCHECK(poll(entries, 2, -1) > 0);
      if (entries[1].revents != 0) return absl::CancelledError("given up");
      const ssize_t put =
          write(stream.get(), text.data() + done, std::min<size_t>(PIPE_BUF, text.size() - done));
      if (put < 0) return absl::UnavailableError("nobody reads");
      done += static_cast<size_t>(put);
    }
    return absl::OkStatus();
  }
  absl::Status Load(BorrowedFd stream, BorrowedFd given_up) override {
    text.clear();
    for (;;) {
      struct pollfd entries[] = {{.fd = stream.get(), .events = POLLIN, .revents = 0},
                                 {.fd = given_up.get(), .events = POLLIN, .revents = 0}};
      PCHECK(poll(entries, 2, -1) > 0);
      if (entries[1].revents != 0) return absl::CancelledError("given up");
      char buffer[4096];
      const ssize_t got = read(stream.get(), buffer, sizeof(buffer));
      if (got <= 0) break;
      text.append(buffer, static_cast<size_t>(got));
    }
    return text == "bad" ? absl::DataLossError("bad") : absl::OkStatus();
  }
  void Prepare() override { ++prepared; }
  void CancelPreparation() override { ++cancelled; }

  std::string text;
  int prepared = 0;
  int cancelled = 0;
};

inline UniqueFd NewEvent() { return UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

// Whether somebody has raised it since the last time.
inline bool Raised(BorrowedFd event) {
  uint64_t count;
  return read(event.get(), &count, sizeof(count)) == sizeof(count);
}

template <WireStruct T>
std::span<const std::byte> Payload(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

class BackendTest : public ::testing::Test {
 protected:
  ~BackendTest() override { (void)Disconnect(); }

  Frontend& Connect(DeviceStateHandler* state = nullptr, const Limits& limits = {}) {
    int ends[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    auto backend = Backend::Create(UniqueFd(ends[0]), device_, state, limits);
    CHECK(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    frontend_.emplace(UniqueFd(ends[1]));
    thread_ = std::thread([this] { ended_ = backend_->Serve(); });
    return *frontend_;
  }
  // Up to where a VMM sets up memory and rings.
  Frontend& Negotiate(DeviceStateHandler* state = nullptr, const Limits& limits = {}) {
    Frontend& frontend = Connect(state, limits);
    protocol_ = frontend.Ask<uint64_t>(MessageId::kGetProtocolFeatures).value();
    CHECK(frontend.Tell(MessageId::kSetProtocolFeatures, protocol_).ok());
    CHECK(frontend.Tell(MessageId::kSetFeatures, kAccepted, Ack::kWanted).ok());
    return frontend;
  }
  absl::Status Disconnect() {
    frontend_.reset();
    return Ended();
  }
  // The back-end has ended by itself, or the front-end has gone.
  absl::Status Ended() {
    if (backend_ == nullptr) return ended_;
    thread_.join();
    CHECK(backend_->Quiesce(absl::Seconds(60)));
    backend_.reset();
    return ended_;
  }
  bool Alive() { return frontend_->Ask<uint64_t>(MessageId::kGetFeatures).ok(); }

  // A ring in `ram`, zeroed, up to where a kick starts it.
  VringAddr Describe(GuestRam& ram, uint32_t index, uint32_t size = 128) {
    const RamBlock desc = ram.Allocate(DescriptorTableSize(size), 16);
    const RamBlock avail = ram.Allocate(AvailableSize(size), 2);
    const RamBlock used = ram.Allocate(UsedSize(size), 4);
    const VringAddr addr = {.index = index,
                            .flags = 0,
                            .desc = ram.UserAddress(desc.guest_address),
                            .used = ram.UserAddress(used.guest_address),
                            .avail = ram.UserAddress(avail.guest_address),
                            .log = used.guest_address};
    Must(frontend_->Tell(MessageId::kSetVringNum, VringState{index, size}, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringBase, VringState{index, 0}, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringAddr, addr, Ack::kWanted));
    return addr;
  }
  VringAddr StartRing(GuestRam& ram, uint32_t index) {
    const VringAddr addr = Describe(ram, index);
    const UniqueFd kick = NewEvent();
    Must(frontend_->SetVringFd(MessageId::kSetVringKick, index, kick, Ack::kWanted));
    Must(frontend_->Tell(MessageId::kSetVringEnable, VringState{index, 1}, Ack::kWanted));
    return addr;
  }
  uint32_t StopRing(uint32_t index) {
    return frontend_->Ask<VringState>(MessageId::kGetVringBase, Payload(VringState{index, 0}))
        .value()
        .num;
  }

  IdleDevice device_;
  uint64_t protocol_ = 0;
  std::unique_ptr<Backend> backend_;
  std::optional<Frontend> frontend_;
  std::thread thread_;
  absl::Status ended_;
};

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_BACKEND_FIXTURE_H_
