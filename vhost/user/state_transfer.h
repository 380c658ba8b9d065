// StateTransfer: the device's state on its way through a stream that the front-end gave, on a
// thread of its own: the front-end reads a pipe only after it was answered.
//
// Owner:   the Backend; the handler outlives it. Threads: the control thread uses it.
// Errors:  kFailedPrecondition: one is under way, or none was begun; else the handler's.
// Source:  spec/vhost-user-fs.md s.15.

#ifndef VHOST_USER_STATE_TRANSFER_H_
#define VHOST_USER_STATE_TRANSFER_H_

#include <memory>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/event_fd.h"
#include "vhost/user/device.h"

namespace gofer::vhost::user {

class StateTransfer {
 public:
  enum class Direction { kSave, kLoad };

  explicit StateTransfer(DeviceStateHandler* handler) : handler_(*handler) {}
  StateTransfer(const StateTransfer&) = delete;
  StateTransfer& operator=(const StateTransfer&) = delete;
  ~StateTransfer() { GiveUp(); }

  // `stream` is closed when all has gone through: to the reader that is the end of it.
  absl::Status Begin(Direction direction, UniqueFd stream);
  // Whether it has ended, or does so soon; also if there was none.
  bool HasEnded(absl::Duration patience);
  // Waits for the end, and says how it went; once.
  absl::Status Check();
  // Nobody is interested any more.
  void GiveUp();

 private:
  struct Transfer {
    explicit Transfer(sys::EventFd event) : given_up(std::move(event)) {}
    sys::EventFd given_up;
    absl::Notification ended;
    absl::Status result;
    std::thread thread;
  };

  DeviceStateHandler& handler_;
  std::unique_ptr<Transfer> transfer_;  // none under way: null
};

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_STATE_TRANSFER_H_
