// DriverQueue: the guest's side of a split ring, with indirect descriptors and EVENT_IDX if they
// were negotiated. What a device gives back is held against the rules.
//
//   queue.Add(readable, writable, token);  // any number of times
//   queue.Publish();                       // shows them to the device and kicks it if it asks for it
//   queue.Take()                           // what has come back; or Wait for it
//
// Owner:   rings and indirect tables are in a GuestRam that outlives it; owns its eventfds.
// Threads: one.
// Errors:  EBADMSG: the device has broken the rules (the log says how). ETIMEDOUT, ESHUTDOWN: Wait.
// Memory:  nothing is allocated for a request, but an indirect table the first time that a
//          descriptor is used.
// Source:  VIRTIO 1.2 s.2.7; spec/vhost-user-fs.md s.9.

#ifndef VHOST_DRIVER_DRIVER_QUEUE_H_
#define VHOST_DRIVER_DRIVER_QUEUE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/time/time.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/virtqueue/ring_layout.h"

namespace gofer::vhost::driver {

struct DriverQueueOptions {
  uint16_t size = 128;  // a power of two
  bool indirect = true;
  bool event_idx = true;
  // Descriptors that a request may have. Linux: 256 pages and four headers.
  uint16_t max_pieces = 264;
};

// A buffer of a request.
struct Piece {
  uint64_t guest_address;
  uint32_t size;
};

struct Finished {
  uint64_t token;
  uint32_t written;  // what the device says to have written
};

class DriverQueue {
 public:
  // `device` is the socket to the device: when it is closed, Wait ends.
  DriverQueue(GuestRam* ram, BorrowedFd device, const DriverQueueOptions& options);
  DriverQueue(const DriverQueue&) = delete;
  DriverQueue& operator=(const DriverQueue&) = delete;

  // Goes on with another device, whose socket this is; what is in flight is for that one to answer.
  void Reattach(BorrowedFd device);
  // As after a reset of the device: empty, everything in flight forgotten.
  void Reset();

  // False: no descriptors are left, or the request has more pieces than max_pieces.
  bool Add(std::span<const Piece> readable, std::span<const Piece> writable, uint64_t token);
  void Publish();
  // Makes the device look, whether it asks for it or not.
  void Kick();

  // The next that has come back, if any. With EVENT_IDX the device may call for no more than this.
  ErrnoOr<std::optional<Finished>> Take();
  // Until Take has something; spins for `spin` first, then sleeps until the device calls.
  ErrnoOr<void> Wait(absl::Duration patience, absl::Duration spin = absl::ZeroDuration());

  size_t in_flight() const { return in_flight_; }
  uint16_t size() const { return options_.size; }
  const DriverQueueOptions& options() const { return options_; }
  uint64_t kicks() const { return kicks_; }
  uint64_t calls() const { return calls_; }

  BorrowedFd kick_fd() const { return kick_; }
  BorrowedFd call_fd() const { return call_; }
  // Raised by the device when it gives the ring up.
  BorrowedFd error_fd() const { return error_; }
  // The ring's areas, for SET_VRING_ADDR.
  const RamBlock& descriptors() const { return descriptors_; }
  const RamBlock& available() const { return available_; }
  const RamBlock& used() const { return used_; }
  // The next index of the available ring: where a device starts that has finished everything.
  uint16_t next_available() const { return next_available_; }

  // ---- for tests that break the rules

  // Puts any head into the available ring; what hangs on it is the test's. One below size() is in
  // flight with this token until it comes back. Not to be mixed with Add before a Reset.
  void AddHead(uint16_t head, uint64_t token);
  // Publishes any index, and goes on from there.
  void PublishIndex(uint16_t index);
  // Writes an entry of the table.
  void SetDescriptor(uint16_t index, const Descriptor& descriptor);

 private:
  static constexpr uint16_t kNone = UINT16_MAX;
  struct Head {
    uint64_t token = 0;
    uint32_t room = 0;                   // writable bytes
    uint16_t descriptors = 0;            // of the table; 0: not in flight
    bool raw = false;                    // put in by AddHead, past the chain of free descriptors
    std::optional<RamBlock> table = {};  // once it was needed
  };

  static std::atomic<uint16_t>& Field(const RamBlock& area, size_t offset) {
    return *reinterpret_cast<std::atomic<uint16_t>*>(area.host + offset);
  }
  Descriptor* Table() const { return reinterpret_cast<Descriptor*>(descriptors_.host); }
  bool HasUsed() const;
  void FreeHead(uint16_t head);

  GuestRam* const ram_;
  const DriverQueueOptions options_;
  RamBlock descriptors_;
  RamBlock available_;
  RamBlock used_;
  UniqueFd kick_;
  UniqueFd call_;
  UniqueFd error_;
  UniqueFd events_;  // an epoll of call_ and the device's socket

  std::vector<Head> heads_;
  // The chain of free descriptors. Not in the table itself: a device could change it there.
  std::vector<uint16_t> next_free_;
  uint16_t first_free_ = 0;
  uint16_t num_free_ = 0;
  uint16_t next_available_ = 0;
  uint16_t published_ = 0;
  uint16_t last_used_ = 0;
  size_t in_flight_ = 0;
  uint64_t kicks_ = 0;
  uint64_t calls_ = 0;
};

}  // namespace gofer::vhost::driver

#endif  // VHOST_DRIVER_DRIVER_QUEUE_H_
