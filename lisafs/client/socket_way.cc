#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "gofer/base/status_macros.h"
#include "lisafs/client/way.h"

namespace lisafs {
namespace {

using gofer::Errno;
using gofer::ErrnoOr;

struct iovec IoVec(std::span<const std::byte> bytes) {
  return {.iov_base = const_cast<std::byte*>(bytes.data()), .iov_len = bytes.size()};
}

}  // namespace

SocketWay::SocketWay(gofer::UniqueFd socket) : socket_(std::move(socket)) {
  // One byte more than the server may send in either direction, so that a test can send too much.
  auto buffer = gofer::sys::MemoryMap::Anonymous(sizeof(SocketHeader) + kWindowSize);
  if (buffer.ok()) buffer_ = *std::move(buffer);
}

std::span<std::byte> SocketWay::request() {
  const std::span<std::byte> all = buffer_.bytes();
  return all.size() < sizeof(SocketHeader) ? std::span<std::byte>()
                                           : all.subspan(sizeof(SocketHeader));
}

ErrnoOr<Reply> SocketWay::RoundTrip(const Exchange& exchange) {
  if (buffer_.bytes().empty()) return Errno(ENOMEM);
  const SocketHeader header = {
      .payload_len = static_cast<uint32_t>(exchange.head_size + exchange.data.size()),
      .message = exchange.id,
      .pad = 0};
  std::memcpy(buffer_.bytes().data(), &header, sizeof(header));
  struct iovec parts[] = {IoVec(buffer_.bytes().first(sizeof(header) + exchange.head_size)),
                          IoVec(exchange.data)};
  const size_t num_parts = exchange.data.empty() ? 1 : 2;
  if (!gofer::sys::SendAll(socket_, std::span(parts, num_parts), {}).ok()) return Errno(ESHUTDOWN);
  return ReceiveReply(exchange);
}

ErrnoOr<Reply> SocketWay::ReceiveReply(const Exchange& exchange) {
  Reply reply;
  // Donated descriptors come with the first byte of the header.
  SocketHeader header;
  const std::span<std::byte> header_bytes = std::as_writable_bytes(std::span(&header, 1));
  const auto first = gofer::sys::ReceiveWithFds(
      socket_, header_bytes,
      std::span(reply.fds).first(std::min(exchange.max_fds, reply.fds.size())));
  if (!first.ok() || first->bytes == 0) return Errno(ESHUTDOWN);
  reply.num_fds = first->fds;
  RETURN_IF_ERROR(ReceiveAll(header_bytes.subspan(first->bytes)));
  reply.id = header.message;

  size_t left = header.payload_len;
  const bool split = header.message == exchange.id && !exchange.reply_data.empty();
  const size_t head_size = split ? std::min(left, exchange.reply_head) : left;
  if (head_size > buffer_.bytes().size()) {
    ShutDown();  // what follows cannot be read in step
    return Errno(EBADMSG);
  }
  const std::span<std::byte> head = buffer_.bytes().first(head_size);
  RETURN_IF_ERROR(ReceiveAll(head));
  reply.payload = head;
  left -= head_size;
  if (left > exchange.reply_data.size()) {
    ShutDown();
    return Errno(EBADMSG);
  }
  if (left > 0) RETURN_IF_ERROR(ReceiveAll(exchange.reply_data.first(left)));
  reply.data_size = left;
  return reply;
}

ErrnoOr<void> SocketWay::SendBytes(std::span<const std::byte> bytes) {
  if (bytes.empty()) return {};
  struct iovec part = IoVec(bytes);
  if (!gofer::sys::SendAll(socket_, std::span(&part, 1), {}).ok()) return Errno(ESHUTDOWN);
  return {};
}

ErrnoOr<void> SocketWay::ReceiveAll(std::span<std::byte> to) {
  while (!to.empty()) {
    const ErrnoOr<size_t> size = gofer::sys::Receive(socket_, to);
    if (!size.ok() || *size == 0) return Errno(ESHUTDOWN);
    to = to.subspan(*size);
  }
  return {};
}

void SocketWay::ShutDown() { gofer::sys::Shutdown(socket_, SHUT_RDWR); }

}  // namespace lisafs
