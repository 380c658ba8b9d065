#include "checkpoint/device_state.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/image_file.h"
#include "checkpoint/report.h"
#include "checkpoint/save.h"
#include "glog/logging.h"
#include "gofer/base/errno.h"
#include "gofer/base/status_macros.h"
#include "gofer/fs/path_repair.h"
#include "gofer/fs/prepared_files.h"
#include "gofer/sys/stream.h"
#include "lisafs/server/server.h"

namespace gofer::checkpoint {
namespace {

std::span<const std::byte> BytesOf(absl::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

DeviceState::DeviceState(fs::Filesystem* filesystem, fuse::Session* session,
                         DeviceStateOptions options)
    : filesystem_(*filesystem), session_(*session), options_(std::move(options)) {}

DeviceState::~DeviceState() {
  CancelPreparation();
  EndPreparation();
}

// ---- Preparation

void DeviceState::Prepare() {
  const absl::MutexLock lock(&mu_);
  if (preparation_.joinable() && !cancel_->load()) return;  // it is under way, or done
  LOG(INFO) << "virtio-fs: a migration is announced: looking for the files that the guest uses";
  cancel_ = std::make_shared<std::atomic<bool>>(false);
  // One that was cancelled ends soon, but it is not for the caller to wait for it.
  preparation_ =
      std::thread([this, cancel = cancel_, cancelled = std::move(preparation_)]() mutable {
        if (cancelled.joinable()) cancelled.join();
        const fs::PathRepair done =
            fs::RepairPaths(filesystem_, {.cancel = cancel.get(), .progress = {}});
        LOG(INFO) << "virtio-fs: " << (done.cancelled ? "cancelled after " : "prepared: ")
                  << done.checked << " names looked at, " << done.repaired << " moved, "
                  << done.not_found << " not found";
      });
}

void DeviceState::CancelPreparation() {
  const absl::MutexLock lock(&mu_);
  if (cancel_ != nullptr) cancel_->store(true);
}

bool DeviceState::EndPreparation() {
  std::thread ending;
  std::shared_ptr<std::atomic<bool>> cancel;
  {
    const absl::MutexLock lock(&mu_);
    ending = std::move(preparation_);
    cancel = std::move(cancel_);
  }
  if (!ending.joinable()) return false;
  ending.join();
  return !cancel->load();
}

// ---- Saving

absl::Status DeviceState::Save(BorrowedFd stream, BorrowedFd given_up) {
  const bool prepared = EndPreparation();
  std::optional<fs::PreparedFiles> nothing;
  if (prepared) nothing.emplace();
  // Saved before, and not gone on here nor anywhere else: it still has its locks.
  if (const absl::Status taken = session_.TakeLocksAgain(); !taken.ok()) {
    LOG(ERROR) << "virtio-fs: " << taken.message();
  }
  const FuseClient clients[] = {{.way = kVhostUserWay, .session = &session_}};
  const lisafs::Server no_sandbox(&filesystem_, {});
  const absl::StatusOr<SaveResult> saved = checkpoint::Save(
      {.filesystem = filesystem_,
       .lisafs = no_sandbox,
       .fuse = clients,
       .version = options_.version,
       .root = options_.root,
       .readonly = options_.readonly},
      {.leave_running = true,
       .max_deleted_bytes = options_.max_deleted_bytes,
       .confirm_paths = options_.confirm_paths},
      [&](absl::string_view payload) { return Send(payload, stream, given_up); },
      std::move(nothing));
  RETURN_IF_ERROR(saved.status());
  LOG(INFO) << "virtio-fs: saved a guest's " << saved->names << " names and " << saved->open_files
            << " open files in " << saved->payload_bytes << " bytes"
            << (prepared ? "" : "; nobody had announced that it would be");
  return absl::OkStatus();
}

absl::Status DeviceState::Send(absl::string_view payload, BorrowedFd stream, BorrowedFd given_up) {
  const ImageHeader header = MakeImageHeader(payload, {});
  ErrnoOr<void> sent =
      sys::WriteStream(stream, BytesOf(absl::string_view(header.data(), header.size())), given_up);
  if (sent.ok()) sent = sys::WriteStream(stream, BytesOf(payload), given_up);
  if (!sent.ok()) return ToStatus(sent.error(), "writing a guest's state");
  session_.LetGoOfLocks();  // before the stream is closed
  return absl::OkStatus();
}

// ---- Loading

absl::Status DeviceState::Load(BorrowedFd stream, BorrowedFd given_up) {
  CancelPreparation();
  EndPreparation();
  absl::Status loaded = Receive(stream, given_up);
  if (!loaded.ok()) session_.Reset();
  return loaded;
}

absl::Status DeviceState::Receive(BorrowedFd stream, BorrowedFd given_up) {
  ErrnoOr<std::string> image = sys::ReadStream(stream, kMaxImageBytes, given_up);
  if (!image.ok()) return ToStatus(image.error(), "reading a guest's state");
  ASSIGN_OR_RETURN(const absl::string_view payload, PayloadOf(*image, {}));
  ASSIGN_OR_RETURN(Loaded loaded, Decode(payload));
  *image = std::string();  // the payload is a part of it
  return Apply(std::move(loaded));
}

absl::Status DeviceState::Apply(Loaded loaded) {
  if (loaded.fuse.size() != 1 || loaded.fuse.front().way != kVhostUserWay ||
      !loaded.lisafs.connections.empty()) {
    return absl::DataLossError(absl::StrCat(
        "image: ", loaded.fuse.size(), " FUSE clients and ", loaded.lisafs.connections.size(),
        " sandboxes instead of one guest; a checkpoint of a whole gofer is for gofer restore"));
  }
  fs::TreeRestore tree(filesystem_, std::move(loaded.files), options_.restore);
  RETURN_IF_ERROR(Judge(tree.Examine()));
  RETURN_IF_ERROR(tree.Take());
  RETURN_IF_ERROR(session_.Restore(loaded.fuse.front().session, tree));
  LOG(INFO) << "virtio-fs: a guest goes on with " << tree.state().dentries.size() << " names and "
            << tree.state().handles.size() << " open files";
  return absl::OkStatus();
}

absl::Status DeviceState::Judge(const fs::RestoreReport& report) const {
  const auto differs = [this](const fs::Finding& finding) {
    return finding.verdict != fs::Verdict::kMoved || !options_.restore.follow_moved;
  };
  if (std::none_of(report.findings.begin(), report.findings.end(), differs)) {
    return absl::OkStatus();
  }
  LOG(ERROR) << "virtio-fs: files of the guest are not what they were:\n" << ReportAsText(report);
  if (options_.mark_mismatches) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(report.findings.size(), " files of the guest are not what they were, the first ",
                   absl::CHexEscape(report.findings.front().path), "; see the log"));
}

}  // namespace gofer::checkpoint
