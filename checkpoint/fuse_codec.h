// Encodes the states of FUSE sessions into an image's messages, and decodes them again. What the rows
// and ids name is for fuse::Session to check.
//
// Threads: safe. Errors: absl::Status, kDataLoss with the position, the value and its bound.

#ifndef CHECKPOINT_FUSE_CODEC_H_
#define CHECKPOINT_FUSE_CODEC_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/image.pb.h"
#include "fuse/session/state.h"

namespace gofer::checkpoint {

// A session, and how its client came in: "vhost-user" or "fuse", whatever the socket or mount is
// called. Those of one kind are told apart by their order, which is that of the command line; so the
// n-th guest that is saved is the n-th one that is restored, and places may change.
struct FuseClientState {
  std::string way;
  fuse::SessionState session;
  friend bool operator==(const FuseClientState&, const FuseClientState&) = default;
};

void Encode(std::span<const FuseClientState> clients, Image& image);
absl::StatusOr<std::vector<FuseClientState>> DecodeFuse(const Image& image);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_FUSE_CODEC_H_
