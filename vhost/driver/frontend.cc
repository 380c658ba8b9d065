#include "vhost/driver/frontend.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "glog/logging.h"

namespace gofer::vhost::driver {
namespace {

constexpr time_t kReplySeconds = 60;
constexpr absl::Duration kRetryConnect = absl::Milliseconds(2);
constexpr size_t kMaxFds = 253;  // SCM_MAX_FD

// The payload of ADD_MEM_REG and REM_MEM_REG.
struct PaddedRegion {
  uint64_t padding;
  RegionLayout region;
};
static_assert(WireStruct<PaddedRegion>);

}  // namespace

Frontend::Frontend(UniqueFd socket) : socket_(std::move(socket)) {
  const timeval patience = {.tv_sec = kReplySeconds, .tv_usec = 0};
  PCHECK(setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0);
}

ErrnoOr<UniqueFd> Frontend::Connect(const std::string& path, absl::Duration patience) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  CHECK_LT(path.size(), sizeof(address.sun_path)) << path;
  std::memcpy(address.sun_path, path.data(), path.size());
  const absl::Time deadline = absl::Now() + patience;
  for (;;) {
    UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    PCHECK(socket.valid());
    if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
      return socket;
    }
    const Errno error = Errno::Last();
    const bool may_come = error == ENOENT || error == ECONNREFUSED || error == EINTR;
    if (!may_come || absl::Now() > deadline) return error;
    absl::SleepFor(kRetryConnect);
  }
}

ErrnoOr<void> Frontend::SendBytes(std::span<const std::byte> bytes,
                                  std::span<const BorrowedFd> fds) {
  CHECK_LE(fds.size(), kMaxFds);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control = {};
  do {
    iovec part = {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
      cmsghdr* const record = CMSG_FIRSTHDR(&message);
      record->cmsg_level = SOL_SOCKET;
      record->cmsg_type = SCM_RIGHTS;
      record->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      for (size_t i = 0; i < fds.size(); ++i) {
        const int fd = fds[i].get();
        std::memcpy(CMSG_DATA(record) + i * sizeof(int), &fd, sizeof(int));
      }
    }
    const ssize_t sent = sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
    if (sent < 0) return errno == EPIPE || errno == ECONNRESET ? Errno(ESHUTDOWN) : Errno::Last();
    bytes = bytes.subspan(static_cast<size_t>(sent));
    fds = {};
  } while (!bytes.empty());
  return {};
}

ErrnoOr<void> Frontend::Send(user::MessageId id, std::span<const std::byte> payload,
                             std::span<const BorrowedFd> fds, uint32_t flags) {
  const user::MessageHeader header = {
      .id = id, .flags = user::kVersion | flags, .size = static_cast<uint32_t>(payload.size())};
  std::vector<std::byte> frame(sizeof(header) + payload.size());
  std::memcpy(frame.data(), &header, sizeof(header));
  std::copy(payload.begin(), payload.end(), frame.begin() + sizeof(header));
  return SendBytes(frame, fds);
}

ErrnoOr<void> Frontend::ReceiveAll(std::span<std::byte> to, std::vector<UniqueFd>* fds) {
  while (!to.empty()) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMaxFds * sizeof(int))> control;
    iovec part = {.iov_base = to.data(), .iov_len = to.size()};
    msghdr message = {};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const ssize_t got = recvmsg(socket_.get(), &message, MSG_CMSG_CLOEXEC);
    if (got < 0) {
      if (errno == EAGAIN) return Errno(ETIMEDOUT);
      return errno == ECONNRESET ? Errno(ESHUTDOWN) : Errno::Last();
    }
    for (cmsghdr* record = CMSG_FIRSTHDR(&message); record != nullptr;
         record = CMSG_NXTHDR(&message, record)) {
      if (record->cmsg_level != SOL_SOCKET || record->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (record->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < count; ++i) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(record) + i * sizeof(int), sizeof(int));
        fds->emplace_back(fd);
      }
    }
    if (got == 0) return Errno(ESHUTDOWN);
    to = to.subspan(static_cast<size_t>(got));
  }
  return {};
}

ErrnoOr<Frontend::Reply> Frontend::Receive(user::MessageId id) {
  Reply reply;
  RETURN_IF_ERROR(ReceiveAll(std::as_writable_bytes(std::span(&reply.header, 1)), &reply.fds));
  // What QEMU insists on.
  if (reply.header.id != id || reply.header.flags != user::kReplyFlags ||
      reply.header.size > user::kMaxPayload) {
    LOG(ERROR) << "reply to " << user::MessageName(id) << ": " << user::MessageName(reply.header.id)
               << ", flags " << reply.header.flags << ", size " << reply.header.size;
    return Errno(EBADMSG);
  }
  reply.payload.resize(reply.header.size);
  RETURN_IF_ERROR(ReceiveAll(reply.payload, &reply.fds));
  return reply;
}

ErrnoOr<void> Frontend::Tell(user::MessageId id, std::span<const std::byte> payload,
                             std::span<const BorrowedFd> fds, Ack ack) {
  RETURN_IF_ERROR(Send(id, payload, fds, ack == Ack::kWanted ? user::kNeedReplyFlag : 0));
  if (ack == Ack::kNone) return {};
  ASSIGN_OR_RETURN(const Reply reply, Receive(id));
  uint64_t result = 0;
  if (reply.payload.size() != sizeof(result)) return Errno(EBADMSG);
  std::memcpy(&result, reply.payload.data(), sizeof(result));
  if (result != 0) return Errno(EREMOTEIO);
  return {};
}

ErrnoOr<void> Frontend::SetMemoryTable(const GuestRam& ram, Ack ack) {
  struct Table {
    uint32_t count;
    uint32_t padding;
    RegionLayout regions[user::kMaxRegionsInTable];
  } table = {};
  static_assert(WireStruct<Table>);
  CHECK_LE(ram.regions().size(), user::kMaxRegionsInTable);
  table.count = static_cast<uint32_t>(ram.regions().size());
  std::copy(ram.regions().begin(), ram.regions().end(), table.regions);
  const std::vector<BorrowedFd> files(ram.regions().size(), ram.file());
  return Tell(user::MessageId::kSetMemTable,
              std::as_bytes(std::span(&table, 1))
                  .first(offsetof(Table, regions) + table.count * sizeof(RegionLayout)),
              files, ack);
}

ErrnoOr<void> Frontend::AddRegion(const RegionLayout& region, BorrowedFd file, Ack ack) {
  return TellWithFd(user::MessageId::kAddMemReg, PaddedRegion{.padding = 0, .region = region}, file,
                    ack);
}

ErrnoOr<void> Frontend::RemoveRegion(const RegionLayout& region, Ack ack) {
  return Tell(user::MessageId::kRemMemReg, PaddedRegion{.padding = 0, .region = region}, ack);
}

ErrnoOr<void> Frontend::SetVringFd(user::MessageId id, uint32_t index, BorrowedFd fd, Ack ack) {
  constexpr uint64_t kNoFd = 1 << 8;
  const uint64_t payload = index | (fd.valid() ? 0 : kNoFd);
  if (!fd.valid()) return Tell(id, payload, ack);
  return TellWithFd(id, payload, fd, ack);
}

}  // namespace gofer::vhost::driver
