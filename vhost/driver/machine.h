// Machine: a VMM and its guest around one virtio-fs device: memory, rings, and the messages that
// QEMU and cloud-hypervisor send, in their order, through the device's life.
//
//   ASSIGN_OR_RETURN(UniqueFd socket, Frontend::Connect(path));
//   auto machine = Machine::Attach(std::move(socket), {.vmm = Vmm::kQemu10});
//   machine->Start();             // the guest's driver says DRIVER_OK
//   machine->queue(1).Add(...);   // 0 is the high priority queue
//   machine->Stop();              // the guest halts, or the VM is paused
//
// Owner:   owns memory, rings and the socket to the device.
// Threads: one, but each queue may have a thread of its own between Start and Stop.
// Errors:  those of Frontend.
// Source:  spec/vhost-user-fs.md s.5 and s.8.

#ifndef VHOST_DRIVER_MACHINE_H_
#define VHOST_DRIVER_MACHINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "vhost/driver/driver_queue.h"
#include "vhost/driver/frontend.h"
#include "vhost/driver/guest_ram.h"
#include "vhost/user/message.h"

namespace gofer::vhost::driver {

enum class Vmm { kQemu7, kQemu10, kCloudHypervisor };

struct MachineOptions {
  Vmm vmm = Vmm::kQemu10;
  uint32_t request_queues = 1;
  DriverQueueOptions queue = {};  // the guest's wishes; only what the device offers is used
  // Two regions of the same file, with the hole at 4 GiB between them if there is more than that.
  // Small guests are split too, so that the second one is used.
  uint64_t ram_bytes = 64 << 20;
  // The device notes requests in memory of ours, so that another one can go on with them
  // (Reconnect).
  bool track_inflight = false;
  // Other regions instead; ram_bytes is then without a meaning.
  std::vector<GuestRam::Piece> memory = {};
};

class Machine {
 public:
  // Up to where the guest has not yet touched the device.
  static ErrnoOr<std::unique_ptr<Machine>> Attach(UniqueFd socket, const MachineOptions& options);

  // DRIVER_OK, or `cont` after Stop: everything from SET_FEATURES to ENABLE.
  ErrnoOr<void> Start();
  // The device has gone while the guest ran; another one is at `socket`. As cloud-hypervisor does
  // it: the handshake and the whole start once more, with the requests that were noted.
  ErrnoOr<void> Reconnect(UniqueFd socket);
  // `stop`, or the guest halts: the rings keep what they have.
  ErrnoOr<void> Stop();
  // The guest boots anew: Stop, RESET_DEVICE where the VMM sends it, and rings as new.
  ErrnoOr<void> Reboot();
  // cloud-hypervisor's: rings are disabled and enabled again, and nobody kicks.
  ErrnoOr<void> Pause();
  ErrnoOr<void> Resume();

  size_t num_queues() const { return queues_.size(); }
  DriverQueue& queue(size_t index) { return *queues_[index]; }
  GuestRam& ram() { return ram_; }
  Frontend& frontend() { return *frontend_; }

  // What was negotiated.
  uint64_t features() const { return features_; }
  uint64_t protocol_features() const { return protocol_features_; }
  // How many rings the device says to have.
  uint64_t device_queues() const { return device_queues_; }

 private:
  Machine(UniqueFd socket, const MachineOptions& options);

  bool is_qemu() const { return options_.vmm != Vmm::kCloudHypervisor; }
  bool has(uint64_t protocol_feature) const { return (protocol_features_ & protocol_feature) != 0; }
  // What QEMU wants acknowledged, and what cloud-hypervisor does: everything.
  Frontend::Ack qemu_ack() const;
  Frontend::Ack ack() const;
  ErrnoOr<void> Handshake();
  void MakeQueues();
  ErrnoOr<void> SendMemory();
  ErrnoOr<void> SendInflight();
  ErrnoOr<void> SetUpRing(uint32_t index);
  ErrnoOr<void> Enable(bool on);

  const MachineOptions options_;
  GuestRam ram_;
  std::optional<Frontend> frontend_;
  // What QEMU has called while the guest cannot take interrupts. Nobody looks at it.
  const UniqueFd masked_call_;
  UniqueFd backend_channel_;  // kept open; nothing is read from it
  uint64_t features_ = 0;
  uint64_t protocol_features_ = 0;
  uint64_t device_queues_ = 0;
  bool memory_sent_ = false;
  UniqueFd inflight_;
  user::InflightArea inflight_area_ = {};
  std::vector<std::unique_ptr<DriverQueue>> queues_;
  std::vector<uint32_t> bases_;
};

}  // namespace gofer::vhost::driver

#endif  // VHOST_DRIVER_MACHINE_H_
