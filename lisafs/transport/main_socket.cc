#include "lisafs/transport/main_socket.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "gofer/base/status_macros.h"
#include "gofer/sys/socket.h"

namespace lisafs {
namespace {

constexpr size_t kFrameCapacity = sizeof(SocketHeader) + kMaxMessageSize;

}  // namespace

gofer::ErrnoOr<std::unique_ptr<MainSocket>> MainSocket::Create(gofer::UniqueFd socket) {
  // Waiting is done in recvmsg and sendmsg themselves.
  RETURN_IF_ERROR(gofer::sys::SetNonBlocking(socket, false));
  ASSIGN_OR_RETURN(gofer::sys::MemoryMap request, gofer::sys::MemoryMap::Anonymous(kFrameCapacity));
  ASSIGN_OR_RETURN(gofer::sys::MemoryMap reply, gofer::sys::MemoryMap::Anonymous(kFrameCapacity));
  return std::unique_ptr<MainSocket>(
      new MainSocket(std::move(socket), std::move(request), std::move(reply)));
}

MainSocket::MainSocket(gofer::UniqueFd socket, gofer::sys::MemoryMap request,
                       gofer::sys::MemoryMap reply)
    : socket_(std::move(socket)), request_(std::move(request)), reply_(std::move(reply)) {}

void MainSocket::Serve(CallHandler& handler) {
  while (ServeOne(handler)) {
  }
}

void MainSocket::StopReceiving() { gofer::sys::Shutdown(socket_, SHUT_RD); }

void MainSocket::ShutDown() { gofer::sys::Shutdown(socket_, SHUT_RDWR); }

bool MainSocket::Fill(size_t size) {
  while (received_ < size) {
    // All that is there, not only what is missing: a small request comes with its header in one
    // call.
    const gofer::ErrnoOr<size_t> got =
        gofer::sys::Receive(socket_, request_.bytes().subspan(received_));
    if (!got.ok() || *got == 0) return false;
    received_ += *got;
  }
  return true;
}

bool MainSocket::Await() {
  if (received_ > 0) return true;
  gofer::ErrnoOr<size_t> got = 0;
  const bool seen = spin_.Poll([&] {
    got = gofer::sys::ReceiveNow(socket_, request_.bytes());
    return got.ok() || got.error().value() != EAGAIN;
  });
  if (!seen) {
    got = gofer::sys::Receive(socket_, request_.bytes());
    spin_.Slept();
  }
  received_ = got.ok() ? *got : 0;
  return received_ > 0;
}

bool MainSocket::Skip(size_t size) {
  while (size > received_) {
    size -= std::exchange(received_, 0);
    if (!Fill(std::min(size, request_.bytes().size()))) return false;
  }
  Consume(size);
  return true;
}

void MainSocket::Consume(size_t size) {
  received_ -= size;
  // A client that waits for its replies, as they all do, leaves nothing behind here.
  if (received_ > 0)
    std::memmove(request_.bytes().data(), request_.bytes().data() + size, received_);
}

bool MainSocket::ServeOne(CallHandler& handler) {
  SocketHeader header;
  if (!Await() || !Fill(sizeof(header))) return false;
  std::memcpy(&header, request_.bytes().data(), sizeof(header));
  const size_t frame_size = sizeof(header) + size_t{header.payload_len};
  const bool too_long = header.payload_len > kMaxMessageSize;
  if (!too_long && !Fill(frame_size)) return false;

  const std::span<const std::byte> whole =
      too_long ? Payload() : Payload(request_.bytes()).subspan(sizeof(header), header.payload_len);
  const size_t private_size = PrivateSize(header.message, whole.size());
  Call call(header.message, whole.first(private_size), whole.subspan(private_size),
            reply_.bytes().subspan(sizeof(header)));
  if (too_long) {
    if (!Skip(frame_size)) return false;
    call.Fail(gofer::Errno(EIO));
  }
  handler.Handle(call);
  if (!too_long) Consume(frame_size);

  const SocketHeader reply = {
      .payload_len = static_cast<uint32_t>(call.body.size()), .message = call.reply_id(), .pad = 0};
  std::memcpy(reply_.bytes().data(), &reply, sizeof(reply));
  struct iovec part = {.iov_base = reply_.bytes().data(),
                       .iov_len = sizeof(reply) + call.body.size()};
  // Descriptors must ride on the header's first byte: the client makes room for them nowhere else.
  return gofer::sys::SendAll(socket_, std::span(&part, 1), call.donated.fds()).ok();
}

}  // namespace lisafs
