#include "vhost/driver/machine.h"

#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "glog/logging.h"

namespace gofer::vhost::driver {
namespace {

using user::MessageId;
using Ack = Frontend::Ack;

// Of the protocol: what each VMM takes if it is offered.
constexpr uint64_t kQemu7Protocol = (1 << 17) - 1;
constexpr uint64_t kQemu10Protocol = (1 << 20) - 1;
constexpr uint64_t kCloudHypervisorProtocol =
    user::kProtocolMq | user::kProtocolReplyAck | user::kProtocolInflightShmfd |
    user::kProtocolConfigureMemSlots | user::kProtocolLogShmfd | user::kProtocolDeviceState;
// QEMU takes everything but what it cannot serve for this device.
constexpr uint64_t kQemuLeavesOut = user::kProtocolConfig;

constexpr uint64_t kHoleBegin = uint64_t{3} << 30;
constexpr uint64_t kHoleEnd = uint64_t{4} << 30;

std::vector<GuestRam::Piece> Memory(const MachineOptions& options) {
  if (!options.memory.empty()) return options.memory;
  const uint64_t bytes = options.ram_bytes;
  const uint64_t low = bytes > 2 * kHoleBegin ? kHoleBegin : bytes / 2;
  return {{.guest_address = 0, .size = low}, {.guest_address = kHoleEnd, .size = bytes - low}};
}

}  // namespace

Machine::Machine(UniqueFd socket, const MachineOptions& options)
    : options_(options),
      ram_(Memory(options)),
      frontend_(std::in_place, std::move(socket)),
      masked_call_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  PCHECK(masked_call_.valid()) << "eventfd";
}

Ack Machine::qemu_ack() const { return has(user::kProtocolReplyAck) ? Ack::kWanted : Ack::kNone; }

Ack Machine::ack() const { return is_qemu() ? Ack::kNone : qemu_ack(); }

ErrnoOr<std::unique_ptr<Machine>> Machine::Attach(UniqueFd socket, const MachineOptions& options) {
  std::unique_ptr<Machine> machine(new Machine(std::move(socket), options));
  RETURN_IF_ERROR(machine->Handshake());
  machine->MakeQueues();
  if (machine->is_qemu()) {
    for (uint32_t i = 0; i < machine->num_queues(); ++i) {
      RETURN_IF_ERROR(machine->frontend_->SetVringFd(MessageId::kSetVringCall, i,
                                                     machine->masked_call_, Ack::kNone));
      RETURN_IF_ERROR(machine->frontend_->SetVringFd(MessageId::kSetVringErr, i,
                                                     machine->queue(i).error_fd(), Ack::kNone));
    }
    if (options.vmm == Vmm::kQemu10 && machine->has(user::kProtocolResetDevice)) {
      RETURN_IF_ERROR(machine->frontend_->Tell(MessageId::kResetDevice, {}, {}, Ack::kNone));
    }
  }
  return machine;
}

ErrnoOr<void> Machine::Handshake() {
  if (!is_qemu()) RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetOwner, {}, {}, Ack::kNone));
  ASSIGN_OR_RETURN(const uint64_t offered, frontend_->Ask<uint64_t>(MessageId::kGetFeatures));
  uint64_t wanted = user::kFeatureVersion1 | user::kFeatureProtocolFeatures;
  if (options_.queue.indirect) wanted |= user::kFeatureIndirectDesc;
  if (options_.queue.event_idx) wanted |= user::kFeatureEventIdx;
  features_ = offered & wanted;
  if ((features_ & user::kFeatureVersion1) == 0 ||
      (features_ & user::kFeatureProtocolFeatures) == 0) {
    LOG(ERROR) << "the device offers features " << std::hex << offered;
    return Errno(EPROTO);
  }
  ASSIGN_OR_RETURN(const uint64_t protocol,
                   frontend_->Ask<uint64_t>(MessageId::kGetProtocolFeatures));
  const uint64_t known = options_.vmm == Vmm::kQemu7    ? kQemu7Protocol & ~kQemuLeavesOut
                         : options_.vmm == Vmm::kQemu10 ? kQemu10Protocol & ~kQemuLeavesOut
                                                        : kCloudHypervisorProtocol;
  protocol_features_ = protocol & known;
  RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetProtocolFeatures, protocol_features_, Ack::kNone));
  if (has(user::kProtocolMq)) {
    ASSIGN_OR_RETURN(device_queues_, frontend_->Ask<uint64_t>(MessageId::kGetQueueNum));
  }
  if (!is_qemu()) return {};

  if (has(user::kProtocolConfigureMemSlots)) {
    ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t slots,
                     frontend_->Ask<uint64_t>(MessageId::kGetMaxMemSlots));
  }
  if (has(user::kProtocolBackendReq)) {
    int ends[2];
    PCHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    backend_channel_ = UniqueFd(ends[0]);
    const UniqueFd theirs(ends[1]);
    const BorrowedFd fd = theirs;
    RETURN_IF_ERROR(
        frontend_->Tell(MessageId::kSetBackendReqFd, {}, std::span(&fd, 1), qemu_ack()));
  }
  RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetOwner, {}, {}, Ack::kNone));
  // QEMU asks twice.
  ASSIGN_OR_RETURN(const uint64_t again, frontend_->Ask<uint64_t>(MessageId::kGetFeatures));
  if (again != offered) return Errno(EBADMSG);
  return {};
}

void Machine::MakeQueues() {
  DriverQueueOptions queue = options_.queue;
  queue.indirect = (features_ & user::kFeatureIndirectDesc) != 0;
  queue.event_idx = (features_ & user::kFeatureEventIdx) != 0;
  for (uint32_t i = 0; i < 1 + options_.request_queues; ++i) {
    queues_.push_back(std::make_unique<DriverQueue>(&ram_, frontend_->socket(), queue));
  }
  bases_.assign(queues_.size(), 0);
}

ErrnoOr<void> Machine::SendMemory() {
  // QEMU sends what has changed; nothing has, after the first time.
  if (is_qemu() && has(user::kProtocolConfigureMemSlots)) {
    if (std::exchange(memory_sent_, true)) return {};
    for (const RegionLayout& region : ram_.regions()) {
      RETURN_IF_ERROR(frontend_->AddRegion(region, ram_.file(), qemu_ack()));
    }
    return {};
  }
  return frontend_->SetMemoryTable(ram_, ack());
}

ErrnoOr<void> Machine::SendInflight() {
  if (!options_.track_inflight) return {};
  if (!has(user::kProtocolInflightShmfd)) return Errno(EPROTO);
  if (!inflight_.valid()) {
    const user::InflightArea wanted = {.size = 0,
                                       .offset = 0,
                                       .num_queues = static_cast<uint16_t>(num_queues()),
                                       .queue_size = queues_[0]->size(),
                                       .padding = 0};
    RETURN_IF_ERROR(
        frontend_->Send(MessageId::kGetInflightFd, std::as_bytes(std::span(&wanted, 1))));
    ASSIGN_OR_RETURN(Frontend::Reply reply, frontend_->Receive(MessageId::kGetInflightFd));
    if (reply.payload.size() != sizeof(inflight_area_) || reply.fds.size() != 1) {
      return Errno(EBADMSG);
    }
    std::memcpy(&inflight_area_, reply.payload.data(), sizeof(inflight_area_));
    inflight_ = std::move(reply.fds[0]);
  }
  return frontend_->TellWithFd(MessageId::kSetInflightFd, inflight_area_, inflight_, qemu_ack());
}

ErrnoOr<void> Machine::Reconnect(UniqueFd socket) {
  frontend_.emplace(std::move(socket));
  memory_sent_ = false;
  RETURN_IF_ERROR(Handshake());
  for (size_t i = 0; i < num_queues(); ++i) {
    queues_[i]->Reattach(frontend_->socket());
    bases_[i] = queues_[i]->next_available();
  }
  return Start();
}

ErrnoOr<void> Machine::SetUpRing(uint32_t index) {
  DriverQueue& queue = *queues_[index];
  const user::VringState base = {.index = index, .num = bases_[index]};
  const user::VringAddr address = {.index = index,
                                   .flags = 0,
                                   .desc = ram_.UserAddress(queue.descriptors().guest_address),
                                   .used = ram_.UserAddress(queue.used().guest_address),
                                   .avail = ram_.UserAddress(queue.available().guest_address),
                                   .log = 0};
  if (is_qemu()) {
    RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringNum,
                                    user::VringState{.index = index, .num = queue.size()}));
    RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringBase, base));
    RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringAddr, address));
    queue.Kick();
    RETURN_IF_ERROR(
        frontend_->SetVringFd(MessageId::kSetVringKick, index, queue.kick_fd(), Ack::kNone));
    return frontend_->SetVringFd(MessageId::kSetVringCall, index, masked_call_, Ack::kNone);
  }
  RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringAddr, address, ack()));
  RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringBase, base, ack()));
  RETURN_IF_ERROR(frontend_->SetVringFd(MessageId::kSetVringCall, index, queue.call_fd(), ack()));
  return frontend_->SetVringFd(MessageId::kSetVringKick, index, queue.kick_fd(), ack());
}

ErrnoOr<void> Machine::Enable(bool on) {
  for (uint32_t i = 0; i < num_queues(); ++i) {
    // QEMU 10 waits for the last one.
    const bool last = options_.vmm == Vmm::kQemu10 && on && i + 1 == num_queues();
    RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetVringEnable,
                                    user::VringState{.index = i, .num = on ? 1u : 0u},
                                    last ? qemu_ack() : ack()));
  }
  return {};
}

ErrnoOr<void> Machine::Start() {
  RETURN_IF_ERROR(frontend_->Tell(MessageId::kSetFeatures, features_, ack()));
  RETURN_IF_ERROR(SendMemory());
  if (!is_qemu()) {
    for (uint32_t i = 0; i < num_queues(); ++i) {
      RETURN_IF_ERROR(frontend_->Tell(
          MessageId::kSetVringNum, user::VringState{.index = i, .num = queues_[i]->size()}, ack()));
    }
  }
  RETURN_IF_ERROR(SendInflight());
  for (uint32_t i = 0; i < num_queues(); ++i) RETURN_IF_ERROR(SetUpRing(i));
  RETURN_IF_ERROR(Enable(true));
  if (is_qemu()) {
    for (uint32_t i = 0; i < num_queues(); ++i) {
      RETURN_IF_ERROR(
          frontend_->SetVringFd(MessageId::kSetVringCall, i, queues_[i]->call_fd(), Ack::kNone));
    }
    // A guest is not so quick to use its rings that the device would not have seen all of these,
    // and QEMU's ends when it answers a request before it knows whom to call. An answer says it
    // has.
    RETURN_IF_ERROR(frontend_->Ask<uint64_t>(MessageId::kGetFeatures));
  }
  return {};
}

ErrnoOr<void> Machine::Stop() {
  RETURN_IF_ERROR(Enable(false));
  for (uint32_t i = 0; i < num_queues(); ++i) {
    const user::VringState which = {.index = i, .num = 0};
    ASSIGN_OR_RETURN(const user::VringState base,
                     frontend_->Ask<user::VringState>(MessageId::kGetVringBase,
                                                      std::as_bytes(std::span(&which, 1))));
    if (base.index != i) return Errno(EBADMSG);
    bases_[i] = base.num;
  }
  return {};
}

ErrnoOr<void> Machine::Reboot() {
  RETURN_IF_ERROR(Stop());
  if (options_.vmm == Vmm::kQemu10 && has(user::kProtocolResetDevice)) {
    RETURN_IF_ERROR(frontend_->Tell(MessageId::kResetDevice, {}, {}, Ack::kNone));
  }
  for (size_t i = 0; i < num_queues(); ++i) {
    queues_[i]->Reset();
    bases_[i] = 0;
  }
  return Start();
}

ErrnoOr<void> Machine::Pause() { return Enable(false); }

ErrnoOr<void> Machine::Resume() { return Enable(true); }

}  // namespace gofer::vhost::driver
