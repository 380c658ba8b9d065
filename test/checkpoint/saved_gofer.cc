#include "test/checkpoint/saved_gofer.h"

#include <fcntl.h>
#include <unistd.h>

#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "checkpoint/image_file.h"
#include "checkpoint/load.h"
#include "glog/logging.h"
#include "gofer/sys/own_directory.h"
#include "test/support/results.h"

namespace gofer::testing {
namespace {

using lisafs::FdId;

FdId Walk(lisafs::Client& client, FdId from, absl::string_view name) {
  lisafs::Inode inode;
  const absl::string_view names[] = {name};
  CHECK_EQ(Must(client.Walk(from, names, std::span(&inode, 1))).count, 1u) << name;
  return inode.control_fd;
}

bool Reads(lisafs::Client& client, FdId file, absl::string_view content) {
  std::string text(content.size() + 10, '\0');
  const ErrnoOr<size_t> size = client.PRead(file, std::as_writable_bytes(std::span(text)), 0);
  if (!size.ok()) return false;
  text.resize(*size);
  return text == content;
}

}  // namespace

SavedGofer::SavedGofer() {
  tree_.Mkdir("dir");
  tree_.Write("dir/below", "below");
  tree_.Write("top", "top of the tree");
  tree_.Write("another", "another");
}

void SavedGofer::Start() {
  End();
  if (run_.Exists("control")) run_.Unlink("control");  // of one that was killed
  tree_.Write("deleted", "deleted and open");
  SocketPair pair = StreamPair();
  Pipe ready = MakePipe();
  gofer_ = std::make_unique<GoferProcess>(
      GoferStart{.arguments = {"serve", "--root=" + tree_.path(), "--lisafs_fd=7", "--ready_fd=9",
                               "--control_socket=" + socket_},
                 .fds = {{7, pair.theirs.get()}, {9, ready.write.get()}}});
  ready.write.Reset();
  CHECK_EQ(ReadPipe(ready.read), "\n") << gofer_->Stderr();
  pair.theirs.Reset();
  client_ = std::make_unique<lisafs::Client>(std::move(pair.ours));
  const FdId root = Must(client_->Mount()).root.control_fd;
  const FdId dir = Walk(*client_, root, "dir");
  top_ = Must(client_->OpenAt(Walk(*client_, root, "top"), O_RDWR)).fd;
  below_ = Must(client_->OpenAt(Walk(*client_, dir, "below"), O_RDONLY)).fd;
  listing_ = Must(client_->OpenAt(dir, O_RDONLY)).fd;
  deleted_ = Must(client_->OpenAt(Walk(*client_, root, "deleted"), O_RDWR)).fd;
  Must(client_->UnlinkAt(root, "deleted", 0));
  GoferProcess save({.arguments = SaveArguments()});
  CHECK_EQ(save.Wait(), 0) << save.Stderr();
  old_image_ = images_.Read(checkpoint::kImageName);
  const absl::StatusOr<absl::string_view> payload = checkpoint::PayloadOf(old_image_, {});
  CHECK(payload.ok()) << payload.status();
  const absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Decode(*payload);
  CHECK(loaded.ok()) << loaded.status();
  old_names_ = loaded->files.dentries.size();
  Walk(*client_, root, "another");
}

void SavedGofer::Begin() {
  if (!Running()) Start();
  for (const std::string& stray : Strays()) images_.Unlink(stray);
  images_.Write(checkpoint::kImageName, old_image_, 0600);
}

std::vector<std::string> SavedGofer::SaveArguments(bool leave_running) const {
  return {"checkpoint", "--control_socket=" + socket_, "--image_path=" + images_.path(),
          leave_running ? "--leave_running" : "--leave_running=false"};
}

Traced SavedGofer::Save(bool leave_running) const {
  std::vector<std::string> command = SaveArguments(leave_running);
  command.insert(command.begin(), GoferBinary());
  return {.follow = {gofer_->pid()}, .command = std::move(command)};
}

std::vector<std::string> SavedGofer::RestoreArguments() const {
  return {"restore",       "--root=" + tree_.path(), "--image_path=" + images_.path(),
          "--lisafs_fd=7", "--ready_fd=9",           "--control_socket=" + run_.At("restored")};
}

SavedGofer::Which SavedGofer::WhichImage() const {
  const UniqueFd directory = Must(sys::OpenOwnDirectory(images_.path().c_str()));
  const absl::StatusOr<checkpoint::Loaded> loaded = checkpoint::Load(directory, {});
  if (!loaded.ok()) {
    LOG(ERROR) << loaded.status();
    return Which::kNone;
  }
  if (images_.Read(checkpoint::kImageName) == old_image_) return Which::kOld;
  return loaded->files.dentries.size() == old_names_ + 1 ? Which::kNew : Which::kNone;
}

std::vector<std::string> SavedGofer::Strays() const {
  std::vector<std::string> strays;
  for (const auto& [name, line] : images_.Snapshot()) {
    if (name != checkpoint::kImageName) strays.push_back(name);
  }
  return strays;
}

bool SavedGofer::SavesNow() {
  GoferProcess save({.arguments = SaveArguments()});
  const int status = save.Wait();
  if (status == 0 && Strays().empty() && WhichImage() == Which::kNew) return true;
  LOG(ERROR) << "save: " << status << " " << save.Stderr();
  return false;
}

bool SavedGofer::Serves() { return Running() && Serves(*client_); }

bool SavedGofer::Serves(lisafs::Client& client) const {
  return Reads(client, top_, "top of the tree") && Reads(client, below_, "below") &&
         Reads(client, deleted_, "deleted and open") && client.FStat(listing_).ok();
}

void SavedGofer::End() {
  client_.reset();
  gofer_.reset();
}

}  // namespace gofer::testing
