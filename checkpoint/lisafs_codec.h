// Encodes the state of the LISAFS front end into an image's messages, and decodes it again. What
// the ids name is for lisafs::Server to check.
//
// Threads: safe. Errors: absl::Status, kDataLoss with the position, the value and its bound.

#ifndef CHECKPOINT_LISAFS_CODEC_H_
#define CHECKPOINT_LISAFS_CODEC_H_

#include "absl/status/statusor.h"
#include "checkpoint/image.pb.h"
#include "lisafs/server/state.h"

namespace gofer::checkpoint {

void Encode(const lisafs::ServerState& state, Image& image);
absl::StatusOr<lisafs::ServerState> DecodeLisafs(const Image& image);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_LISAFS_CODEC_H_
