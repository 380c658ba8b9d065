#include "vhost/virtio_fs/listing_helper.h"

#include <utility>

namespace gofer::virtio_fs {
namespace {

// Of one queue, whose thread goes on itself.
constexpr size_t kMaxHelpers = 1;

}  // namespace

void ListingHelper::Ask(RefPtr<fs::LookAhead> ahead) {
  {
    absl::MutexLock lock(&mu_);
    std::swap(asked_, ahead);
  }
  // Of two listings that take turns on one queue the newer one is helped.
  if (ahead) ahead->Helped();
  workers_.AskForHelp(*this, kMaxHelpers);
}

void ListingHelper::Help(fuse::Scratch&) {
  for (;;) {
    RefPtr<fs::LookAhead> ahead;
    {
      absl::MutexLock lock(&mu_);
      std::swap(ahead, asked_);
    }
    if (!ahead) return;
    while (session_.LookAhead(*ahead)) {
    }
    ahead->Helped();
  }
}

}  // namespace gofer::virtio_fs
