#include "vhost/user/backend.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"

namespace gofer::vhost::user {
namespace {

// Between two looks at whether the front-end still waits, where something is waited for.
constexpr absl::Duration kLook = absl::Milliseconds(20);

// Bits that QEMU lets a driver accept though nobody has offered them.
constexpr uint64_t kToleratedFeatures = kFeatureNotifyOnEmpty | kFeatureAnyLayout;
// What may change while rings are served.
constexpr uint64_t kLiveFeatures = kFeatureLogAll;

absl::Status Invalid(absl::string_view what) { return absl::InvalidArgumentError(what); }

// A call or an error descriptor is written to by threads that must not wait: an eventfd has no file
// type, as no anonymous inode has, and none of those makes a writer wait as a full pipe does.
absl::Status CheckEvent(BorrowedFd fd) {
  const ErrnoOr<sys::Attr> attr = sys::Statx(fd);
  if (!attr.ok()) return ToStatus(attr.error(), "statx of a descriptor");
  if ((attr->stx_mode & S_IFMT) != 0) {
    return Invalid(absl::StrCat("descriptor with file type 0", absl::Hex(attr->stx_mode & S_IFMT),
                                " instead of an eventfd"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> Backend::Create(UniqueFd socket, Device& device,
                                                         DeviceStateHandler* state,
                                                         const Limits& limits) {
  ErrnoOr<sys::EventFd> memory_cut = sys::EventFd::Create();
  if (!memory_cut.ok()) return ToStatus(memory_cut.error(), "eventfd");
  ASSIGN_OR_RETURN(RefPtr<const GuestMemory> no_memory,
                   GuestMemory::Create({}, BorrowedFd(), limits.memory));
  return std::unique_ptr<Backend>(new Backend(std::move(socket), device, state, limits,
                                              *std::move(memory_cut), std::move(no_memory)));
}

Backend::Backend(UniqueFd socket, Device& device, DeviceStateHandler* state, const Limits& limits,
                 sys::EventFd memory_cut, RefPtr<const GuestMemory> no_memory)
    : connection_(std::move(socket)),
      device_(device),
      state_(state),
      limits_(limits),
      memory_cut_(std::move(memory_cut)),
      memory_(std::move(no_memory)) {
  if (state_ != nullptr) transfer_.emplace(state_);
}

Backend::~Backend() { DCHECK(!any_started()) << "Quiesce first"; }

absl::Status Backend::Serve() {
  for (;;) {
    ASSIGN_OR_RETURN(const bool cut, connection_.WaitForMessage(memory_cut_.fd()));
    if (cut) return absl::DataLossError("the guest's memory was cut short under the device");
    const absl::StatusOr<Message> message = connection_.Receive();
    if (absl::IsUnavailable(message.status())) return absl::OkStatus();
    RETURN_IF_ERROR(message.status());
    const absl::Status answered = Dispatch(*message);
    if (absl::IsUnavailable(answered)) return absl::OkStatus();
    RETURN_IF_ERROR(answered);
  }
}

void Backend::ShutDown() {
  ending_ = true;
  connection_.ShutDown();
}

bool Backend::Quiesce(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  for (Ring& ring : rings_) {
    if (ring.started) ring.queue->Halt();
  }
  for (uint32_t i = 0; i < kMaxQueues; ++i) {
    if (!StopRing(i, rings_[i], deadline)) return false;
  }
  if (transfer_.has_value()) transfer_->GiveUp();
  return true;
}

bool Backend::Abandoned() const { return ending_ || connection_.HasHungUp(); }

// ---- Dispatch

absl::Status Backend::Dispatch(const Message& message) {
  const MessageRule* const rule = FindMessageRule(message.header.id);
  absl::Status done = rule == nullptr ? absl::UnimplementedError("not known to this device")
                                      : Check(message, *rule);
  if (done.ok() && rule->answer == Answer::kReply) return Reply(message);
  if (done.ok()) done = Apply(message);
  if (!done.ok()) {
    LOG_EVERY_N(WARNING, 100) << MessageName(message.header.id) << ": " << done.message();
  }
  if (AckWanted(message)) {
    return connection_.Reply(message.header.id, uint64_t{done.ok() ? 0u : 1u});
  }
  const bool vital = rule != nullptr && rule->answer != Answer::kAck;
  return vital ? done : absl::OkStatus();
}

bool Backend::AckWanted(const Message& message) const {
  return message.needs_reply() && (protocol_features_ & kProtocolReplyAck) != 0;
}

absl::Status Backend::Check(const Message& message, const MessageRule& rule) const {
  if (message.payload.size() < rule.min_size || message.payload.size() > rule.max_size) {
    return Invalid(absl::StrCat("payload of ", message.payload.size(), " bytes, not ",
                                rule.min_size, " to ", rule.max_size));
  }
  if (message.fds.size() < rule.min_fds || message.fds.size() > rule.max_fds) {
    return Invalid(
        absl::StrCat(message.fds.size(), " descriptors, not ", rule.min_fds, " to ", rule.max_fds));
  }
  return absl::OkStatus();
}

absl::Status Backend::Apply(const Message& message) {
  const std::string name = MessageName(message.header.id);
  const auto u64 = [&] { return DecodePayload<uint64_t>(name, message.payload); };
  const auto vring = [&] { return DecodePayload<VringState>(name, message.payload); };
  switch (message.header.id) {
    case MessageId::kSetFeatures: {
      ASSIGN_OR_RETURN(const uint64_t features, u64());
      return SetFeatures(features);
    }
    case MessageId::kSetProtocolFeatures: {
      ASSIGN_OR_RETURN(const uint64_t features, u64());
      return SetProtocolFeatures(features);
    }
    case MessageId::kSetOwner:
    case MessageId::kSetLogFd:  // for the front-end's own log, which nobody writes to
      return absl::OkStatus();
    case MessageId::kResetOwner:
      return StopAllRings();
    case MessageId::kSetMemTable:
      return SetMemoryTable(message);
    case MessageId::kAddMemReg:
      return AddMemory(message);
    case MessageId::kRemMemReg:
      return RemoveMemory(message);
    case MessageId::kSetVringNum: {
      ASSIGN_OR_RETURN(const VringState state, vring());
      return SetVringSize(state);
    }
    case MessageId::kSetVringAddr: {
      ASSIGN_OR_RETURN(const VringAddr addr, DecodePayload<VringAddr>(name, message.payload));
      return SetVringAddr(addr);
    }
    case MessageId::kSetVringBase: {
      ASSIGN_OR_RETURN(const VringState state, vring());
      return SetVringBase(state);
    }
    case MessageId::kSetVringKick:
      return SetVringKick(message);
    case MessageId::kSetVringCall:
    case MessageId::kSetVringErr:
      return SetVringEvent(message);
    case MessageId::kSetVringEnable: {
      ASSIGN_OR_RETURN(const VringState state, vring());
      return EnableVring(state);
    }
    case MessageId::kSetBackendReqFd:
      backend_channel_ = std::move(message.fds[0]);
      return absl::OkStatus();
    case MessageId::kSetConfig:
      return absl::PermissionDeniedError("the configuration is read-only");
    case MessageId::kSetInflightFd:
      return SetInflight(message);
    case MessageId::kResetDevice:
      return ResetDevice();
    default:
      return absl::InternalError("message has a rule and no action");
  }
}

absl::Status Backend::Reply(const Message& message) {
  const MessageId id = message.header.id;
  switch (id) {
    case MessageId::kGetFeatures:
      return connection_.Reply(id, offered_features());
    case MessageId::kGetProtocolFeatures:
      return connection_.Reply(id, offered_protocol_features());
    case MessageId::kGetQueueNum:
      return connection_.Reply(id, uint64_t{limits_.queues});
    case MessageId::kGetMaxMemSlots:
      return connection_.Reply(id, uint64_t{limits_.memory.regions});
    case MessageId::kGetVringBase:
      return ReplyVringBase(message);
    case MessageId::kSetLogBase:
      return ReplyLogBase(message);
    case MessageId::kGetConfig:
      return ReplyConfig(message);
    case MessageId::kGetInflightFd:
      return ReplyInflight(message);
    case MessageId::kSetDeviceStateFd:
      return ReplyStateTransfer(message);
    case MessageId::kCheckDeviceState:
      return ReplyStateCheck(message);
    default:
      return absl::InternalError("message has a rule and no reply");
  }
}

// ---- Features

uint64_t Backend::offered_features() const {
  return device_.features() | kFeatureLogAll | kFeatureIndirectDesc | kFeatureEventIdx |
         kFeatureProtocolFeatures | kFeatureVersion1;
}

// QEMU accepts whatever is offered, whether it knows it or not: nothing is that does not work.
uint64_t Backend::offered_protocol_features() const {
  uint64_t features = kProtocolMq | kProtocolLogShmfd | kProtocolReplyAck | kProtocolBackendReq |
                      kProtocolBackendSendFd | kProtocolInflightShmfd | kProtocolResetDevice |
                      kProtocolConfigureMemSlots;
  if (state_ != nullptr) features |= kProtocolDeviceState;
  // QEMU 7.1 to 8.0 crash when they warn of it, so only where somebody asked for a tag of ours.
  if (!device_.config().empty()) features |= kProtocolConfig;
  return features;
}

absl::Status Backend::SetFeatures(uint64_t features) {
  const uint64_t unknown = features & ~(offered_features() | kToleratedFeatures);
  if (unknown != 0)
    return Invalid(absl::StrCat("features 0x", absl::Hex(unknown), " were not offered"));
  const uint64_t changed = features ^ features_;
  if (any_started() && (changed & ~kLiveFeatures) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("features 0x", absl::Hex(changed), " cannot change while rings are served"));
  }
  features_ = features;
  enabled_from_start_ = (features & kFeatureProtocolFeatures) == 0;
  if (enabled_from_start_) {
    for (Ring& ring : rings_) ring.enabled = true;
  }
  if ((changed & kFeatureLogAll) == 0) return absl::OkStatus();
  ApplyLog();
  if (state_ != nullptr) {
    (features & kFeatureLogAll) != 0 ? state_->Prepare() : state_->CancelPreparation();
  }
  return absl::OkStatus();
}

absl::Status Backend::SetProtocolFeatures(uint64_t features) {
  const uint64_t unknown = features & ~offered_protocol_features();
  if (unknown != 0)
    return Invalid(absl::StrCat("protocol features 0x", absl::Hex(unknown), " were not offered"));
  protocol_features_ = features;
  return absl::OkStatus();
}

// ---- Memory

absl::Status Backend::SetMemoryTable(const Message& message) {
  ASSIGN_OR_RETURN(const std::vector<RegionLayout> layouts, DecodeMemoryTable(message.payload));
  if (layouts.size() != message.fds.size()) {
    return Invalid(
        absl::StrCat(layouts.size(), " regions with ", message.fds.size(), " descriptors"));
  }
  if (layouts.empty() && any_started())
    return absl::FailedPreconditionError("no memory while rings are served");
  std::vector<GuestMemory::NewRegion> regions;
  for (size_t i = 0; i < layouts.size(); ++i) {
    regions.push_back({.layout = layouts[i], .file = message.fds[i]});
  }
  ASSIGN_OR_RETURN(RefPtr<const GuestMemory> memory,
                   GuestMemory::Create(regions, memory_cut_.fd(), limits_.memory));
  return UseMemory(std::move(memory));
}

absl::Status Backend::AddMemory(const Message& message) {
  ASSIGN_OR_RETURN(const RegionLayout layout, DecodeMemoryRegion(message.payload));
  ASSIGN_OR_RETURN(RefPtr<const GuestMemory> memory,
                   memory_->With({.layout = layout, .file = message.fds[0]}, memory_cut_.fd()));
  return UseMemory(std::move(memory));
}

absl::Status Backend::RemoveMemory(const Message& message) {
  ASSIGN_OR_RETURN(const RegionLayout layout, DecodeMemoryRegion(message.payload));
  ASSIGN_OR_RETURN(RefPtr<const GuestMemory> memory, memory_->Without(layout));
  return UseMemory(std::move(memory));
}

absl::Status Backend::UseMemory(RefPtr<const GuestMemory> memory) {
  memory_ = std::move(memory);
  regions_ = memory_->size();
  bytes_ = memory_->bytes();
  std::vector<VirtQueue*> left;
  for (uint32_t i = 0; i < kMaxQueues; ++i) {
    Ring& ring = rings_[i];
    if (!ring.started) continue;
    // All of them first, then each is waited for.
    if (!ring.queue->SetMemory(memory_, absl::ZeroDuration())) left.push_back(ring.queue.get());
    // The ring's own memory may be back: QEMU removes a region to add a larger one.
    device_.Wake(i);
  }
  // The front-end takes memory away once it has its answer: no request may be in it any more.
  while (!left.empty()) {
    if (left.back()->SetMemory(memory_, kLook)) {
      left.pop_back();
    } else if (Abandoned()) {
      return absl::UnavailableError("front-end: gone");
    } else {
      device_.CancelWaiting();
    }
  }
  return absl::OkStatus();
}

// ---- Rings

absl::StatusOr<Backend::Ring*> Backend::FindRing(uint32_t index) {
  if (index >= limits_.queues) {
    return Invalid(absl::StrCat("ring ", index, ", there are ", limits_.queues));
  }
  Ring& ring = rings_[index];
  if (ring.queue == nullptr) {
    ring.queue = std::make_unique<VirtQueue>(index);
    ++queues_;
  }
  return &ring;
}

bool Backend::any_started() const {
  return std::any_of(rings_.begin(), rings_.end(), [](const Ring& ring) { return ring.started; });
}

absl::Status Backend::SetVringSize(VringState state) {
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(state.index));
  if (ring->started)
    return absl::FailedPreconditionError(absl::StrCat("ring ", state.index, " is being served"));
  if (state.num == 0 || state.num > limits_.ring_entries || (state.num & (state.num - 1)) != 0) {
    return Invalid(absl::StrCat("ring ", state.index, " of ", state.num,
                                " entries: not a power of two up to ", limits_.ring_entries));
  }
  ring->size = state.num;
  return absl::OkStatus();
}

absl::Status Backend::SetVringAddr(const VringAddr& addr) {
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(addr.index));
  if (!ring->started) {
    ring->addr = addr;
    return StartIfComplete(addr.index, *ring);
  }
  // The way to switch the log of a ring that is being served; where it is may not change.
  if (addr.desc != ring->addr->desc || addr.used != ring->addr->used ||
      addr.avail != ring->addr->avail) {
    return absl::FailedPreconditionError(
        absl::StrCat("ring ", addr.index, " is being served elsewhere"));
  }
  ring->addr = addr;
  ApplyLog(*ring);
  return absl::OkStatus();
}

absl::Status Backend::SetVringBase(VringState state) {
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(state.index));
  if (ring->started)
    return absl::FailedPreconditionError(absl::StrCat("ring ", state.index, " is being served"));
  if (state.num > UINT16_MAX)
    return Invalid(absl::StrCat("ring ", state.index, ": index ", state.num, " is no index"));
  ring->base = static_cast<uint16_t>(state.num);
  return absl::OkStatus();
}

absl::Status Backend::SetVringKick(const Message& message) {
  ASSIGN_OR_RETURN(const VringFd vring, DecodeVringFd(message.payload));
  if (vring.has_fd != (message.fds.size() == 1))
    return Invalid(absl::StrCat("ring ", vring.index, ": descriptor and its bit do not agree"));
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(vring.index));
  if (ring->started) device_.Detach(vring.index);
  ring->kicked = true;
  ring->kick = vring.has_fd ? std::move(message.fds[0]) : UniqueFd();
  if (!ring->started) return StartIfComplete(vring.index, *ring);
  const absl::Status attached = device_.Attach(vring.index, *ring->queue, ring->kick);
  if (attached.ok()) {
    device_.Wake(vring.index);
  } else if (!StopRing(vring.index, *ring, absl::InfiniteFuture())) {
    return absl::UnavailableError("front-end: gone");
  }
  return attached;
}

absl::Status Backend::SetVringEvent(const Message& message) {
  ASSIGN_OR_RETURN(const VringFd vring, DecodeVringFd(message.payload));
  if (vring.has_fd != (message.fds.size() == 1))
    return Invalid(absl::StrCat("ring ", vring.index, ": descriptor and its bit do not agree"));
  if (vring.has_fd) RETURN_IF_ERROR(CheckEvent(message.fds[0]));
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(vring.index));
  UniqueFd event = vring.has_fd ? std::move(message.fds[0]) : UniqueFd();
  if (message.header.id == MessageId::kSetVringCall) {
    ring->queue->SetCall(std::move(event));
  } else {
    ring->queue->SetError(std::move(event));
  }
  return absl::OkStatus();
}

absl::Status Backend::EnableVring(VringState state) {
  if (state.num > 1) return Invalid(absl::StrCat("ring ", state.index, ": neither on nor off"));
  ASSIGN_OR_RETURN(Ring* const ring, FindRing(state.index));
  ring->enabled = state.num == 1;
  if (!ring->started) return StartIfComplete(state.index, *ring);
  if (!ring->enabled) {
    ring->queue->Halt();
    return absl::OkStatus();
  }
  // Nobody need have kicked: cloud-hypervisor does not after a pause.
  ring->queue->Resume();
  device_.Wake(state.index);
  return absl::OkStatus();
}

absl::Status Backend::StartIfComplete(uint32_t index, Ring& ring) {
  if (!ring.kicked || !ring.addr.has_value() || ring.size == 0) return absl::OkStatus();
  if ((features_ & kFeatureVersion1) == 0)
    return absl::FailedPreconditionError("rings of virtio 1 only: VERSION_1 was not accepted");
  const RingConfig config = {.size = ring.size,
                             .addresses = {.descriptors = ring.addr->desc,
                                           .used = ring.addr->used,
                                           .available = ring.addr->avail},
                             .event_idx = (features_ & kFeatureEventIdx) != 0};
  // A guest that goes on is not as it is being saved or loaded any more. A transfer that has ended
  // stays, to be asked about.
  if (transfer_.has_value() && !transfer_->HasEnded(absl::ZeroDuration())) {
    LOG(WARNING) << "ring " << index << " starts while the device's state is on its way: given up";
    transfer_->GiveUp();
  }
  RETURN_IF_ERROR(ring.queue->Start(config, ring.base, memory_, inflight_));
  ApplyLog(ring);
  if (const absl::Status attached = device_.Attach(index, *ring.queue, ring.kick); !attached.ok()) {
    (void)ring.queue->Stop();
    ring.kicked = false;
    ring.kick.Reset();
    return attached;
  }
  ring.started = true;
  if (ring.enabled || enabled_from_start_) {
    ring.queue->Resume();
    device_.Wake(index);
  }
  return absl::OkStatus();
}

bool Backend::StopRing(uint32_t index, Ring& ring, absl::Time deadline) {
  if (!ring.started) return true;
  ring.queue->Halt();
  while (!ring.queue->WaitIdle(kLook)) {
    if (absl::Now() >= deadline) return false;
    if (deadline == absl::InfiniteFuture() && Abandoned()) return false;
    device_.CancelWaiting();
  }
  device_.Detach(index);
  ring.base = ring.queue->Stop().next_available;
  ring.started = false;
  ring.kicked = false;
  ring.kick.Reset();
  return true;
}

absl::Status Backend::StopAllRings() {
  for (Ring& ring : rings_) {
    ring.enabled = false;
    if (ring.started) ring.queue->Halt();
  }
  for (uint32_t i = 0; i < kMaxQueues; ++i) {
    if (!StopRing(i, rings_[i], absl::InfiniteFuture()))
      return absl::UnavailableError("front-end: gone");
  }
  return absl::OkStatus();
}

// QEMU does not repeat everything that it has said: owner, protocol features and memory stay.
absl::Status Backend::ResetDevice() {
  RETURN_IF_ERROR(StopAllRings());
  if (transfer_.has_value()) transfer_->GiveUp();
  if (state_ != nullptr && (features_ & kFeatureLogAll) != 0) state_->CancelPreparation();
  features_ = 0;
  enabled_from_start_ = false;
  log_ = nullptr;
  inflight_ = nullptr;
  for (Ring& ring : rings_) {
    if (ring.queue == nullptr) continue;
    ring.queue->SetCall(UniqueFd());
    ring.queue->SetError(UniqueFd());
    std::unique_ptr<VirtQueue> queue = std::move(ring.queue);
    ring = Ring();
    ring.queue = std::move(queue);
  }
  device_.Reset();
  return absl::OkStatus();
}

absl::Status Backend::ReplyVringBase(const Message& message) {
  ASSIGN_OR_RETURN(const VringState state,
                   DecodePayload<VringState>("GET_VRING_BASE", message.payload));
  uint32_t base = 0;
  // A front-end that gets no answer takes a guess, so there is one for every ring.
  if (state.index < kMaxQueues) {
    Ring& ring = rings_[state.index];
    if (!StopRing(state.index, ring, absl::InfiniteFuture()))
      return absl::UnavailableError("front-end: gone");
    base = ring.base;
  }
  return connection_.Reply(message.header.id, VringState{.index = state.index, .num = base});
}

// ---- Dirty log

void Backend::ApplyLog() {
  for (Ring& ring : rings_) {
    if (ring.started) ApplyLog(ring);
  }
}

void Backend::ApplyLog(Ring& ring) {
  if ((features_ & kFeatureLogAll) == 0 || log_ == nullptr) {
    ring.queue->SetDirtyLog(nullptr, std::nullopt);
  } else if ((ring.addr->flags & kVringAddrLog) != 0) {
    ring.queue->SetDirtyLog(log_, ring.addr->log);
  } else {
    ring.queue->SetDirtyLog(log_, std::nullopt);
  }
}

absl::Status Backend::ReplyLogBase(const Message& message) {
  ASSIGN_OR_RETURN(const LogArea area, DecodePayload<LogArea>("SET_LOG_BASE", message.payload));
  absl::StatusOr<RefPtr<const DirtyLog>> log =
      DirtyLog::Map(message.fds[0], area.offset, area.size, memory_cut_.fd());
  if (log.ok()) {
    log_ = *std::move(log);
    // Nothing is marked in the old one any more when the front-end hears of it.
    ApplyLog();
  } else {
    LOG_EVERY_N(WARNING, 100) << "SET_LOG_BASE: " << log.status().message();
  }
  // Without the feature that promises an answer this is a message like others.
  if ((protocol_features_ & kProtocolLogShmfd) == 0 && !AckWanted(message)) return absl::OkStatus();
  return connection_.Reply(message.header.id, uint64_t{log.ok() ? 0u : 1u});
}

// ---- Configuration, in-flight region

absl::Status Backend::ReplyConfig(const Message& message) {
  const absl::StatusOr<ConfigHeader> header = DecodeConfigHeader(message.payload);
  const std::span<const std::byte> config = device_.config();
  if (!header.ok() || header->offset > config.size() ||
      header->size > config.size() - header->offset) {
    return connection_.Reply(message.header.id, std::span<const std::byte>());
  }
  std::vector<std::byte> reply(message.payload.begin(),
                               message.payload.begin() + sizeof(ConfigHeader));
  const std::span<const std::byte> part = config.subspan(header->offset, header->size);
  reply.insert(reply.end(), part.begin(), part.end());
  return connection_.Reply(message.header.id, std::span<const std::byte>(reply));
}

absl::Status Backend::CheckInflight(const InflightArea& area) const {
  if (area.num_queues <= limits_.queues && area.queue_size <= limits_.ring_entries) {
    return absl::OkStatus();
  }
  return Invalid(absl::StrCat("in-flight region: ", area.num_queues, " queues of ", area.queue_size,
                              ", limits ", limits_.queues, ", ", limits_.ring_entries));
}

absl::Status Backend::ReplyInflight(const Message& message) {
  ASSIGN_OR_RETURN(InflightArea area, DecodeInflightArea(message.payload));
  InflightLayout layout = {.num_queues = area.num_queues, .queue_size = area.queue_size};
  const absl::StatusOr<UniqueFd> file = [&]() -> absl::StatusOr<UniqueFd> {
    RETURN_IF_ERROR(CheckInflight(area));
    return InflightRegion::Create(layout);
  }();
  if (!file.ok()) {
    LOG_EVERY_N(WARNING, 100) << "GET_INFLIGHT_FD: " << file.status().message();
  }
  area.size = file.ok() ? layout.size : 0;
  area.offset = file.ok() ? layout.offset : 0;
  // As long as it was asked.
  return connection_.Reply(message.header.id,
                           std::as_bytes(std::span(&area, 1)).first(message.payload.size()),
                           file.ok() ? file->borrow() : BorrowedFd());
}

absl::Status Backend::SetInflight(const Message& message) {
  ASSIGN_OR_RETURN(const InflightArea area, DecodeInflightArea(message.payload));
  if (any_started()) return absl::FailedPreconditionError("rings are being served");
  RETURN_IF_ERROR(CheckInflight(area));
  ASSIGN_OR_RETURN(inflight_, InflightRegion::Map({.size = area.size,
                                                   .offset = area.offset,
                                                   .num_queues = area.num_queues,
                                                   .queue_size = area.queue_size},
                                                  message.fds[0], memory_cut_.fd()));
  return absl::OkStatus();
}

// ---- The device's state

absl::Status Backend::ReplyStateTransfer(const Message& message) {
  ASSIGN_OR_RETURN(const DeviceStateTransfer asked,
                   DecodePayload<DeviceStateTransfer>("SET_DEVICE_STATE_FD", message.payload));
  absl::Status begun = absl::OkStatus();
  if (!transfer_.has_value()) {
    begun = absl::UnimplementedError("this device cannot be migrated");
  } else if (asked.direction > kStateLoad || asked.phase != kPhaseStopped) {
    begun = Invalid(absl::StrCat("direction ", asked.direction, ", phase ", asked.phase));
  } else if (any_started()) {
    begun = absl::FailedPreconditionError("rings are being served");
  } else {
    begun = transfer_->Begin(asked.direction == kStateSave ? StateTransfer::Direction::kSave
                                                           : StateTransfer::Direction::kLoad,
                             std::move(message.fds[0]));
  }
  if (!begun.ok()) {
    LOG_EVERY_N(WARNING, 100) << "SET_DEVICE_STATE_FD: " << begun.message();
  }
  return connection_.Reply(message.header.id,
                           kStateReplyNoFd | (begun.ok() ? 0 : kStateReplyFailed));
}

absl::Status Backend::ReplyStateCheck(const Message& message) {
  absl::Status ended = absl::UnimplementedError("this device cannot be migrated");
  if (transfer_.has_value()) {
    while (!transfer_->HasEnded(kLook)) {
      if (Abandoned()) return absl::UnavailableError("front-end: gone");
    }
    ended = transfer_->Check();
  }
  if (!ended.ok()) {
    LOG_EVERY_N(WARNING, 100) << "CHECK_DEVICE_STATE: " << ended.message();
  }
  return connection_.Reply(message.header.id, uint64_t{ended.ok() ? 0u : 1u});
}

}  // namespace gofer::vhost::user
