#include <climits>
#include <cstring>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/futex.h"
#include "lisafs/client/way.h"

namespace lisafs {
namespace {

using gofer::Errno;
using gofer::ErrnoOr;

// The connection state: whose turn it is.
constexpr uint32_t kClientTurn = 0;
constexpr uint32_t kServerTurn = 1;
constexpr uint32_t kShutDown = 2;

// Both sides open with an empty JSON object of options: three bytes where a datagram would stand.
constexpr char kHello[] = {'{', '}', '\n'};

constexpr size_t kDatagramOffset = sizeof(PacketHeader);
constexpr size_t kPayloadOffset = kDatagramOffset + sizeof(ChannelHeader);

}  // namespace

ErrnoOr<std::unique_ptr<ChannelWay>> ChannelWay::Map(ChannelGrant grant) {
  if (grant.place.data_length < kPayloadOffset || grant.place.data_offset < 0)
    return Errno(EBADMSG);
  ASSIGN_OR_RETURN(
      gofer::sys::MemoryMap map,
      gofer::sys::MemoryMap::Shared(grant.memory, static_cast<uint64_t>(grant.place.data_offset),
                                    grant.place.data_length));
  return std::unique_ptr<ChannelWay>(new ChannelWay(std::move(map), std::move(grant.fd_socket)));
}

ChannelWay::ChannelWay(gofer::sys::MemoryMap map, gofer::UniqueFd fd_socket)
    : map_(std::move(map)), fd_socket_(std::move(fd_socket)) {}

std::atomic<uint32_t>& ChannelWay::state() const {
  return *reinterpret_cast<std::atomic<uint32_t>*>(window().data() +
                                                   offsetof(PacketHeader, connection_state));
}

std::atomic<uint32_t>& ChannelWay::data_len() const {
  return *reinterpret_cast<std::atomic<uint32_t>*>(window().data() +
                                                   offsetof(PacketHeader, data_len));
}

std::span<std::byte> ChannelWay::request() { return window().subspan(kPayloadOffset); }

ErrnoOr<void> ChannelWay::Handshake() {
  std::byte* const datagram = window().data() + kDatagramOffset;
  std::memcpy(datagram, kHello, sizeof(kHello));
  data_len().store(sizeof(kHello), std::memory_order_relaxed);
  RETURN_IF_ERROR(PassTurn());
  if (data_len().load(std::memory_order_relaxed) != sizeof(kHello) ||
      std::memcmp(datagram, kHello, sizeof(kHello)) != 0) {
    return Errno(EBADMSG);
  }
  return {};
}

ErrnoOr<void> ChannelWay::PassTurn() {
  uint32_t expected = kClientTurn;
  if (!state().compare_exchange_strong(expected, kServerTurn, std::memory_order_release,
                                       std::memory_order_relaxed)) {
    return Errno(expected == kShutDown ? ESHUTDOWN : EBADMSG);
  }
  gofer::sys::FutexWake(state(), 1);
  for (;;) {
    const uint32_t now = state().load(std::memory_order_acquire);
    if (now == kClientTurn) return {};
    if (now != kServerTurn) return Errno(now == kShutDown ? ESHUTDOWN : EBADMSG);
    gofer::sys::FutexWait(state(), kServerTurn);
  }
}

ErrnoOr<Reply> ChannelWay::RoundTrip(const Exchange& exchange) {
  const ChannelHeader request_header = {.message = exchange.id, .num_fds = 0, .pad = 0};
  std::memcpy(window().data() + kDatagramOffset, &request_header, sizeof(request_header));
  if (!exchange.data.empty()) {
    std::memcpy(request().data() + exchange.head_size, exchange.data.data(), exchange.data.size());
  }
  data_len().store(
      static_cast<uint32_t>(sizeof(ChannelHeader) + exchange.head_size + exchange.data.size()),
      std::memory_order_relaxed);
  RETURN_IF_ERROR(PassTurn());

  const size_t datagram_size = data_len().load(std::memory_order_relaxed);
  if (datagram_size < sizeof(ChannelHeader) || datagram_size > window().size() - kDatagramOffset) {
    return Errno(EBADMSG);
  }
  ChannelHeader header;
  std::memcpy(&header, window().data() + kDatagramOffset, sizeof(header));
  Reply reply;
  reply.id = header.message;
  // The descriptors were sent before the turn was passed, one message each.
  for (size_t i = 0; i < header.num_fds; ++i) {
    ErrnoOr<gofer::UniqueFd> fd = gofer::sys::ReceiveFd(fd_socket_);
    if (!fd.ok()) break;
    if (reply.num_fds < exchange.max_fds && reply.num_fds < reply.fds.size()) {
      reply.fds[reply.num_fds++] = *std::move(fd);
    }
  }
  reply.payload = request().first(datagram_size - sizeof(ChannelHeader));
  if (header.message == exchange.id && !exchange.reply_data.empty() &&
      reply.payload.size() > exchange.reply_head) {
    const Payload data = reply.payload.subspan(exchange.reply_head);
    if (data.size() > exchange.reply_data.size()) return Errno(EBADMSG);
    std::memcpy(exchange.reply_data.data(), data.data(), data.size());
    reply.payload = reply.payload.first(exchange.reply_head);
    reply.data_size = data.size();
  }
  return reply;
}

bool ChannelWay::alive() const { return state().load(std::memory_order_relaxed) != kShutDown; }

void ChannelWay::ShutDown() {
  state().store(kShutDown, std::memory_order_release);
  gofer::sys::FutexWake(state(), INT_MAX);
}

}  // namespace lisafs
