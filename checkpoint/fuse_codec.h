// Encodes the states of FUSE sessions into an image's messages, and decodes them again. What the
// rows and ids name is for fuse::Session to check.
//
// Threads: safe. Errors: absl::Status, kDataLoss with the position, the value and its bound.

#ifndef CHECKPOINT_FUSE_CODEC_H_
#define CHECKPOINT_FUSE_CODEC_H_

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "checkpoint/image.pb.h"
#include "fuse/session/state.h"

namespace gofer::checkpoint {

// How a client came in.
inline constexpr absl::string_view kVhostUserWay = "vhost-user";
inline constexpr absl::string_view kFuseWay = "fuse";

// A session, and one of these words for its client, whatever the socket or mount is called. Those
// of one kind are told apart by their order, which is that of the command line; so the n-th guest
// that is saved is the n-th one that is restored, and places may change.
struct FuseClientState {
  std::string way;
  fuse::SessionState session;
  friend bool operator==(const FuseClientState&, const FuseClientState&) = default;
};

void Encode(std::span<const FuseClientState> clients, Image& image);
absl::StatusOr<std::vector<FuseClientState>> DecodeFuse(const Image& image);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_FUSE_CODEC_H_
