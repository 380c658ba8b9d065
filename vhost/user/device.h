// Device: what a Backend sets up on behalf of the front-end: the side that serves the queues. And
// DeviceStateHandler: who can put all that such a device knows into a stream, for migration.
//
// Owner:   outlives the Backend.
// Threads: all of Device is called by the Backend's control thread, one call at a time.
// Source:  spec/vhost-user-fs.md s.7, 12 and 15.

#ifndef VHOST_USER_DEVICE_H_
#define VHOST_USER_DEVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "gofer/base/unique_fd.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::vhost::user {

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  // The feature bits of this kind of device, 0 to 23.
  virtual uint64_t features() const = 0;
  // The configuration space; empty: the front-end has its own.
  virtual std::span<const std::byte> config() const = 0;

  // Serves `queue` from now on, whenever it is not halted and `kick` says so; an invalid one is to
  // be done without. Both stay until Detach has returned.
  virtual absl::Status Attach(uint32_t index, VirtQueue& queue, BorrowedFd kick) = 0;
  // The queue may have requests that nobody kicked for.
  virtual void Wake(uint32_t index) = 0;
  // Takes nothing from the queue any more, nor waits for its kick, when it returns. What was taken
  // is still given back.
  virtual void Detach(uint32_t index) = 0;

  // Ends the requests that wait for something that another request has to do, such as a lock. Until
  // they are all given back it may have to be called again: one that is about to wait is not found.
  virtual void CancelWaiting() = 0;
  // Forgets what the guest has set up: as after power-on. No queue is served.
  virtual void Reset() = 0;
};

class DeviceStateHandler {
 public:
  DeviceStateHandler() = default;
  DeviceStateHandler(const DeviceStateHandler&) = delete;
  DeviceStateHandler& operator=(const DeviceStateHandler&) = delete;
  virtual ~DeviceStateHandler() = default;

  // Both on a thread of their own, while no queue is served. `given_up` becomes readable when
  // nobody waits for the end any more; the stream may be a pipe or a socket whose other end does
  // nothing. Writes all of the state; the live one stays as it is, since the guest may go on here.
  virtual absl::Status Save(BorrowedFd stream, BorrowedFd given_up) = 0;
  // Reads to the end of file. After a failure the device is as after Device::Reset.
  virtual absl::Status Load(BorrowedFd stream, BorrowedFd given_up) = 0;

  // The guest is about to be migrated and still runs: slow work may begin. Or it is not, after all.
  // Called by the control thread; they do not block.
  virtual void Prepare() = 0;
  virtual void CancelPreparation() = 0;
};

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_DEVICE_H_
