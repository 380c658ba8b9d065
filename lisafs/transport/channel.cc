#include "lisafs/transport/channel.h"

#include <sys/socket.h>

#include <cstring>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/socket.h"

namespace lisafs {
namespace {

using gofer::ErrnoOr;
using gofer::UniqueFd;

// Both sides open with a JSON object of options, of which there are none yet.
constexpr absl::string_view kHello = "{}\n";
constexpr size_t kMaxHello = 4096;

// How soon a waiter that a hostile client has put back to sleep is woken again.
constexpr absl::Duration kRepeatShutDown = absl::Milliseconds(1);

constexpr size_t kDatagramSize = kWindowSize - sizeof(PacketHeader);
constexpr size_t kPayloadCapacity = kDatagramSize - sizeof(ChannelHeader);
static_assert(kPayloadCapacity >= kMaxMessageSize);

}  // namespace

ErrnoOr<std::unique_ptr<Channel>> Channel::Create(gofer::BorrowedFd memory, size_t index,
                                                  UniqueFd& client_socket) {
  ASSIGN_OR_RETURN(gofer::sys::MemoryMap map,
                   gofer::sys::MemoryMap::Shared(memory, index * kWindowSize, kWindowSize));
  ASSIGN_OR_RETURN(gofer::sys::MemoryMap request,
                   gofer::sys::MemoryMap::Anonymous(kMaxMessageSize));
  ASSIGN_OR_RETURN(auto sockets, gofer::sys::SeqpacketPair());
  // Nothing is ever received here. Refusing it keeps a client from parking descriptors in the
  // queue.
  gofer::sys::Shutdown(sockets.first, SHUT_RD);
  client_socket = std::move(sockets.second);
  return std::unique_ptr<Channel>(
      new Channel(std::move(map), std::move(request), std::move(sockets.first)));
}

Channel::Channel(gofer::sys::MemoryMap map, gofer::sys::MemoryMap request, UniqueFd fd_socket)
    : map_(std::move(map)),
      request_(std::move(request)),
      fd_socket_(std::move(fd_socket)),
      window_(map_.bytes()) {}

void Channel::Serve(CallHandler& handler) {
  if (Handshake()) {
    while (ServeOne(handler)) {
    }
  }
  // However it ended: a client that still waits must get to know.
  window_.ShutDown();
  served_.Notify();
}

void Channel::ShutDownAndWait() {
  do {
    window_.ShutDown();
  } while (!served_.WaitForNotificationWithTimeout(kRepeatShutDown));
}

bool Channel::Handshake() {
  if (window_.Wait(spin_) != PacketWindow::Turn::kOurs) return false;
  const uint32_t size = window_.ReadDataLen();
  char hello[kMaxHello];
  if (size > sizeof(hello) ||
      !window_.datagram().CopyOut(0, std::as_writable_bytes(std::span(hello, size)))) {
    return false;
  }
  // An object, whatever its members: unknown options are ignored, and all are unknown.
  const absl::string_view object = absl::StripAsciiWhitespace(absl::string_view(hello, size));
  if (object.size() < 2 || object.front() != '{' || object.back() != '}') return false;
  std::memcpy(window_.writable().data(), kHello.data(), kHello.size());
  return window_.HandOver(kHello.size());
}

bool Channel::ServeOne(CallHandler& handler) {
  if (window_.Wait(spin_) != PacketWindow::Turn::kOurs) return false;
  const size_t size = window_.ReadDataLen();
  if (size < sizeof(ChannelHeader) || size > kDatagramSize) return false;

  ChannelHeader header;
  if (!window_.datagram().CopyOut(0, std::as_writable_bytes(std::span(&header, 1)))) return false;
  const size_t payload_size = size - sizeof(header);
  const bool too_long = payload_size > kMaxMessageSize;
  // The descriptor count of a request means nothing: clients send none, and none could be received.
  const size_t private_size = too_long ? 0 : PrivateSize(header.message, payload_size);
  const std::span<std::byte> payload = request_.bytes().first(private_size);
  if (!window_.datagram().CopyOut(sizeof(header), payload)) return false;
  const std::span<const std::byte> bulk =
      too_long
          ? std::span<const std::byte>()
          : window_.datagram().bulk(sizeof(header) + private_size, payload_size - private_size);

  Call call(header.message, payload, bulk,
            window_.writable().subspan(sizeof(header), kMaxMessageSize));
  if (too_long) call.Fail(gofer::Errno(EIO));
  handler.Handle(call);

  // Descriptors first, each in a message of its own. One that cannot be sent (the client leaves its
  // queue full) ends the list: the client is told how many there are.
  ChannelHeader reply = {.message = call.reply_id(), .num_fds = 0, .pad = 0};
  for (const gofer::BorrowedFd fd : call.donated.fds()) {
    if (!gofer::sys::SendFd(fd_socket_, fd).ok()) break;
    ++reply.num_fds;
  }
  std::memcpy(window_.writable().data(), &reply, sizeof(reply));
  return window_.HandOver(static_cast<uint32_t>(sizeof(reply) + call.body.size()));
}

}  // namespace lisafs
