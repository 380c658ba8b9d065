#include "test/support/device_state_stream.h"

#include <unistd.h>

#include <cstdint>
#include <span>
#include <utility>

#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/stream.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "vhost/user/message.h"

namespace gofer::testing {
namespace {

using vhost::driver::Machine;
using vhost::user::MessageId;

constexpr size_t kMaxBytes = 64 << 20;

// Whether the device has taken the stream.
void Begin(Machine& machine, uint32_t direction, UniqueFd stream) {
  const vhost::user::DeviceStateTransfer ask = {.direction = direction,
                                                .phase = vhost::user::kPhaseStopped};
  const BorrowedFd fd = stream;
  CHECK_EQ(Must(machine.frontend().Ask<uint64_t>(
               MessageId::kSetDeviceStateFd, std::as_bytes(std::span(&ask, 1)), std::span(&fd, 1))),
           vhost::user::kStateReplyNoFd);
}

bool Check(Machine& machine) {
  return Must(machine.frontend().Ask<uint64_t>(MessageId::kCheckDeviceState)) == 0;
}

}  // namespace

std::optional<std::string> SaveDeviceState(Machine& machine) {
  Pipe pipe = MakePipe();
  Begin(machine, vhost::user::kStateSave, std::move(pipe.write));
  std::string state = Must(sys::ReadStream(pipe.read, kMaxBytes, BorrowedFd()));
  if (!Check(machine)) return std::nullopt;
  return state;
}

bool LoadDeviceState(Machine& machine, const std::string& state) {
  Pipe pipe = MakePipe();
  Begin(machine, vhost::user::kStateLoad, std::move(pipe.read));
  Must(sys::WriteStream(pipe.write, std::as_bytes(std::span(state)), BorrowedFd()));
  pipe.write.Reset();
  return Check(machine);
}

}  // namespace gofer::testing
