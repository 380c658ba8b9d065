#include "vhost/user/state_transfer.h"

#include <utility>

#include "gofer/base/errno.h"

namespace gofer::vhost::user {

absl::Status StateTransfer::Begin(Direction direction, UniqueFd stream) {
  if (transfer_ != nullptr)
    return absl::FailedPreconditionError("the state is on its way already; check that first");
  ErrnoOr<sys::EventFd> given_up = sys::EventFd::Create();
  if (!given_up.ok()) return ToStatus(given_up.error(), "eventfd");
  transfer_ = std::make_unique<Transfer>(*std::move(given_up));
  transfer_->thread = std::thread([this, direction, stream = std::move(stream)]() mutable {
    const BorrowedFd given_up = transfer_->given_up.fd();
    transfer_->result = direction == Direction::kSave ? handler_.Save(stream, given_up)
                                                      : handler_.Load(stream, given_up);
    stream.Reset();
    transfer_->ended.Notify();
  });
  return absl::OkStatus();
}

bool StateTransfer::HasEnded(absl::Duration patience) {
  return transfer_ == nullptr || transfer_->ended.WaitForNotificationWithTimeout(patience);
}

absl::Status StateTransfer::Check() {
  if (transfer_ == nullptr) return absl::FailedPreconditionError("no state was on its way");
  transfer_->thread.join();
  const std::unique_ptr<Transfer> ended = std::move(transfer_);
  return ended->result;
}

void StateTransfer::GiveUp() {
  if (transfer_ == nullptr) return;
  transfer_->given_up.Raise();
  transfer_->thread.join();
  transfer_.reset();
}

}  // namespace gofer::vhost::user
