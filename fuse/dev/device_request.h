// DeviceRequest: one request of the host kernel, with the memory that it is read into and the
// memory for its reply.
//
// Data of a WRITE and of the reply to a READ begin at a page, so that files which are open for
// direct I/O can take and give it as it lies there. What is never touched costs no memory.
//
// Owner:   the thread that has read it; a deferred one owns itself until it is completed.
// Threads: one at a time.

#ifndef FUSE_DEV_DEVICE_REQUEST_H_
#define FUSE_DEV_DEVICE_REQUEST_H_

#include <cstddef>
#include <memory>
#include <span>

#include "fuse/session/request.h"
#include "gofer/base/unique_fd.h"

namespace gofer::fuse {

class DeviceRequest final : public Request {
 public:
  // `device` is where the reply is written, and outlives this.
  explicit DeviceRequest(BorrowedFd device);
  DeviceRequest(const DeviceRequest&) = delete;
  DeviceRequest& operator=(const DeviceRequest&) = delete;

  // Where the next one goes.
  std::span<std::byte> room() const { return room_; }
  // `size` bytes of it have come.
  void Arrived(size_t size);
  // Writes the reply, if there is one. What the kernel does not want any more is no error.
  void Reply(size_t written) const;

  // Of a deferred request: replies, and is gone.
  void Complete(size_t written) override;

 private:
  const BorrowedFd device_;
  const std::unique_ptr<std::byte[]> memory_;
  std::span<std::byte> room_;
  std::span<std::byte> reply_;
  struct iovec in_iovec_;
  struct iovec out_iovec_;
};

}  // namespace gofer::fuse

#endif  // FUSE_DEV_DEVICE_REQUEST_H_
