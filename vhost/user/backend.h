// Backend: one front-end's view of a device: does what its messages say, from the first one until
// it has gone. Features, the guest's memory, the life of the rings, the dirty log, the in-flight
// region and the device's state are managed here; requests are served by the Device.
//
//   ASSIGN_OR_RETURN(auto backend, Backend::Create(std::move(socket), device, nullptr));
//   LOG_IF(WARNING, !backend->Serve().ok());
//   if (!backend->Quiesce(patience)) the process has to end: threads hang in the host;
//
// Owner:   of the queues, the memory and every descriptor that the front-end sent. The Device and
//          the handler outlive it.
// Threads: Serve and Quiesce by one thread; ShutDown and use from any.
// Errors:  a message that cannot be done is refused, by an answer if one was asked for, and the
//          connection goes on. A broken frame, memory that was cut short under us, and a failure
//          that there is no way to tell about end it. Nothing that a front-end sends ends the
//          process.
// Source:  the vhost-user protocol; spec/vhost-user-fs.md s.2 to 8, 13 to 16 and 22.

#ifndef VHOST_USER_BACKEND_H_
#define VHOST_USER_BACKEND_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/event_fd.h"
#include "vhost/memory/dirty_log.h"
#include "vhost/memory/guest_memory.h"
#include "vhost/user/connection.h"
#include "vhost/user/device.h"
#include "vhost/user/message.h"
#include "vhost/user/state_transfer.h"
#include "vhost/virtqueue/inflight_region.h"
#include "vhost/virtqueue/ring_layout.h"
#include "vhost/virtqueue/virt_queue.h"

namespace gofer::vhost::user {

// All that the protocol can name: a ring's number has 8 bits where descriptors are sent.
inline constexpr uint32_t kMaxQueues = 256;

// What a front-end may have, which flags may lower.
struct Limits {
  uint32_t queues = kMaxQueues;
  uint32_t ring_entries = kMaxRingSize;
  MemoryLimits memory = {};
};

class Backend {
 public:
  // `state` may be null: then the device cannot be migrated, and says so.
  static absl::StatusOr<std::unique_ptr<Backend>> Create(UniqueFd socket, Device& device,
                                                         DeviceStateHandler* state,
                                                         const Limits& limits = {});
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;
  // After Quiesce has returned true.
  ~Backend();

  // Answers messages until the front-end has gone; an error says why it had to be left.
  absl::Status Serve();
  // Makes Serve return soon. What is in flight goes on.
  void ShutDown();
  // Stops all queues, as far as requests in flight end within `patience`. False: some did not, and
  // their threads still use this object and the device.
  bool Quiesce(absl::Duration patience);

  // How much of its limits the front-end has: rings that it has named, and memory.
  struct Use {
    size_t queues = 0;
    size_t memory_regions = 0;
    uint64_t memory_bytes = 0;
  };
  Use use() const {
    return {.queues = queues_, .memory_regions = regions_, .memory_bytes = bytes_};
  }

 private:
  // A ring as the front-end has described it so far. The queue is there from the first message on
  // that names it.
  struct Ring {
    std::unique_ptr<VirtQueue> queue;
    uint32_t size = 0;
    uint16_t base = 0;
    std::optional<VringAddr> addr;
    bool kicked = false;  // SET_VRING_KICK came, perhaps without a descriptor
    UniqueFd kick;
    bool enabled = false;
    bool started = false;
  };

  Backend(UniqueFd socket, Device& device, DeviceStateHandler* state, const Limits& limits,
          sys::EventFd memory_cut, RefPtr<const GuestMemory> no_memory);

  // ---- Dispatch

  absl::Status Dispatch(const Message& message);
  absl::Status Check(const Message& message, const MessageRule& rule) const;
  // Messages that are acknowledged: what failed.
  absl::Status Apply(const Message& message);
  // Messages with an answer of their own: an error ends the connection.
  absl::Status Reply(const Message& message);
  bool AckWanted(const Message& message) const;

  // ---- Messages

  absl::Status SetFeatures(uint64_t features);
  absl::Status SetProtocolFeatures(uint64_t features);
  absl::Status SetMemoryTable(const Message& message);
  absl::Status AddMemory(const Message& message);
  absl::Status RemoveMemory(const Message& message);
  absl::Status SetVringSize(VringState state);
  absl::Status SetVringAddr(const VringAddr& addr);
  absl::Status SetVringBase(VringState state);
  absl::Status SetVringKick(const Message& message);
  absl::Status SetVringEvent(const Message& message);  // call and error
  absl::Status EnableVring(VringState state);
  absl::Status SetInflight(const Message& message);
  absl::Status ResetDevice();
  absl::Status StopAllRings();

  absl::Status ReplyVringBase(const Message& message);
  absl::Status ReplyLogBase(const Message& message);
  absl::Status ReplyConfig(const Message& message);
  // Whether it is for no more than the rings that there may be.
  absl::Status CheckInflight(const InflightArea& area) const;
  absl::Status ReplyInflight(const Message& message);
  absl::Status ReplyStateTransfer(const Message& message);
  absl::Status ReplyStateCheck(const Message& message);

  // ---- Rings and memory

  absl::StatusOr<Ring*> FindRing(uint32_t index);
  // Once it is known where it is and when to look at it.
  absl::Status StartIfComplete(uint32_t index, Ring& ring);
  // Returns when everything taken from it has been given back; false if the front-end or the
  // process cannot wait for that.
  bool StopRing(uint32_t index, Ring& ring, absl::Time deadline);
  absl::Status UseMemory(RefPtr<const GuestMemory> memory);
  void ApplyLog();
  void ApplyLog(Ring& ring);
  // Whether waiting for requests has lost its point.
  bool Abandoned() const;

  uint64_t offered_features() const;
  uint64_t offered_protocol_features() const;
  bool any_started() const;

  Connection connection_;
  Device& device_;
  DeviceStateHandler* const state_;
  const Limits limits_;
  const sys::EventFd memory_cut_;  // outlives all mappings
  std::atomic<bool> ending_{false};

  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  bool enabled_from_start_ = false;  // PROTOCOL_FEATURES was not accepted
  RefPtr<const GuestMemory> memory_;
  RefPtr<const DirtyLog> log_;
  RefPtr<const InflightRegion> inflight_;
  UniqueFd backend_channel_;  // held, since the front-end may wait for its end
  std::array<Ring, kMaxQueues> rings_;
  // For who asks meanwhile.
  std::atomic<size_t> queues_{0};
  std::atomic<size_t> regions_{0};
  std::atomic<uint64_t> bytes_{0};
  std::optional<StateTransfer> transfer_;
};

}  // namespace gofer::vhost::user

#endif  // VHOST_USER_BACKEND_H_
