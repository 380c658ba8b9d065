#include "test/support/fuse_mount.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>
#include <vector>

#include "glog/logging.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/dev_fuse.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/interrupt.h"

namespace gofer::testing {

std::unique_ptr<fs::Filesystem> ServeTree(const TempTree& tree, const std::string& name) {
  umask(0);  // as the gofer does at its start
  auto filesystem = fs::Filesystem::Create(tree.OpenPath(name), *sys::OpenProcSelfFd(), {});
  CHECK(filesystem.ok()) << filesystem.status();
  return *std::move(filesystem);
}

FuseMount::FuseMount(fs::Filesystem* filesystem, const std::string& mountpoint,
                     const FuseMountOptions& options)
    : session_(filesystem, options.session) {
  CHECK(sys::EnableInterrupts().ok());
  std::vector<UniqueFd> devices;
  ErrnoOr<UniqueFd> device = sys::OpenDevFuse();
  CHECK(device.ok()) << device.error().ToString();
  devices.push_back(*std::move(device));
  auto keeper = fuse::MountKeeper::Create(
      devices[0], mountpoint,
      {.source = "test", .allow_other = true, .read_only = options.session.readonly});
  CHECK(keeper.ok()) << keeper.status();
  keeper_ = std::make_unique<fuse::MountKeeper>(*std::move(keeper));
  ErrnoOr<UniqueFd> clone = sys::CloneDevFuse(devices[0]);
  CHECK(clone.ok()) << clone.error().ToString();
  devices.push_back(*std::move(clone));
  if (options.non_blocking) {
    for (const UniqueFd& each : devices) PCHECK(fcntl(each.get(), F_SETFL, O_NONBLOCK) == 0);
  }
  device_ = std::make_unique<fuse::DevFuse>(session_, std::move(devices), options.max_threads);
  device_->Start();
  const absl::Status attached = keeper_->Attach();
  CHECK(attached.ok()) << attached;
}

FuseMount::~FuseMount() {
  if (keeper_ != nullptr) Unmount();
}

void FuseMount::Unmount() {
  const absl::Status unmounted = keeper_->Detach();
  CHECK(unmounted.ok()) << unmounted;
  keeper_.reset();
  if (device_ == nullptr) return;
  // The kernel may keep the connection for longer: a mount namespace that somebody has made
  // meanwhile has a copy of the mount.
  device_->Stop();
  const absl::Status ended = device_->WaitForEnd();
  CHECK(ended.ok()) << ended;
}

}  // namespace gofer::testing
