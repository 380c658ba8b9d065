#include "checkpoint/load.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "checkpoint/codec.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/lisafs_codec.h"
#include "checkpoint/shape.h"
#include "gofer/base/status_macros.h"

namespace gofer::checkpoint {

absl::StatusOr<Loaded> Decode(absl::string_view payload) {
  RETURN_IF_ERROR(CheckShape(payload));
  Image image;
  if (!image.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) {
    return absl::DataLossError(
        absl::StrCat("image: ", payload.size(), " bytes of payload that are no message"));
  }
  Loaded loaded;
  ASSIGN_OR_RETURN(loaded.files, Decode(image.filesystem()));
  ASSIGN_OR_RETURN(loaded.lisafs, DecodeLisafs(image));
  ASSIGN_OR_RETURN(loaded.fuse, DecodeFuse(image));
  loaded.configuration = std::move(*image.mutable_configuration());
  return loaded;
}

absl::StatusOr<Loaded> Load(BorrowedFd directory, const ImageKey& key) {
  ASSIGN_OR_RETURN(const std::string payload, LoadImage(directory, key));
  return Decode(payload);
}

}  // namespace gofer::checkpoint
