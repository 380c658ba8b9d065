#include "fuse/dev/device_request.h"

#include <cstdint>

#include "fuse/wire/abi.h"
#include "glog/logging.h"
#include "gofer/sys/dev_fuse.h"

namespace gofer::fuse {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kBeforeWrittenData = sizeof(InHeader) + sizeof(WriteIn);
constexpr size_t kBeforeReadData = sizeof(OutHeader);
// A page for the headers, and the data.
constexpr size_t kHalf = kMaxMessage;
static_assert(kHalf % kPage == 0 && kHalf >= kPage + kMaxData);

std::byte* NextPage(std::byte* at) {
  const auto address = reinterpret_cast<uintptr_t>(at);
  return at + (kPage - address % kPage) % kPage;
}

}  // namespace

DeviceRequest::DeviceRequest(BorrowedFd device)
    : device_(device), memory_(std::make_unique_for_overwrite<std::byte[]>(2 * kHalf + kPage)) {
  std::byte* const start = NextPage(memory_.get());
  room_ = std::span(start, kHalf).subspan(kPage - kBeforeWrittenData);
  reply_ = std::span(start + kHalf, kHalf).subspan(kPage - kBeforeReadData);
  out_iovec_ = {.iov_base = reply_.data(), .iov_len = reply_.size()};
  out = std::span(&out_iovec_, 1);
}

void DeviceRequest::Arrived(size_t size) {
  in_iovec_ = {.iov_base = room_.data(), .iov_len = size};
  in = std::span(&in_iovec_, 1);
}

void DeviceRequest::Reply(size_t written) const {
  if (written == 0) return;
  const ErrnoOr<void> sent = sys::WriteReply(device_, reply_.first(written));
  // ENOENT: who asked has been interrupted. ENODEV: the mount is gone.
  if (sent.ok() || sent.error() == ENOENT || sent.error() == ENODEV) return;
  LOG_EVERY_N(ERROR, 1000) << "/dev/fuse: a reply of " << written
                           << " bytes was refused: " << sent.error().ToString();
}

void DeviceRequest::Complete(size_t written) {
  Reply(written);
  delete this;
}

}  // namespace gofer::fuse
