#include "gofer/base/byte_reader.h"

#include "absl/strings/str_cat.h"

namespace gofer {

absl::Status ByteReader::ShortError() const {
  if (missing_ == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(message_, ": message of ", total_, " bytes cannot hold what it counts"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat(message_, ": message of ", total_, " bytes is ", missing_, " bytes too short"));
}

absl::Status ByteReader::TailError() const {
  return absl::InvalidArgumentError(absl::StrCat(message_, ": message of ", total_, " bytes has ",
                                                 bytes_.size(), " bytes left over"));
}

}  // namespace gofer
