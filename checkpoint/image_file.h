// The file around an image: what makes a torn, forged or foreign file known for what it is before
// one byte of its content is believed. And its way to and from a directory.
//
//   offset  size  field (little-endian)
//        0     8  magic "GOFERIMG"
//        8     2  major: another one is another format
//       10     2  minor: a newer one only adds what an older reader may skip
//       12     4  kind of digest: 1 SHA-256, 2 HMAC-SHA-256 under a key of the caller
//       16     8  features that a reader must know; none is defined
//       24     8  bytes of payload, which ends the file
//       32    32  zero
//       64    32  digest over the 64 bytes before and the payload
//       96        payload: the protobuf message Image
//
// The same bytes travel as a vhost-user device state, where there is no directory.
//
// Owner:   nothing is kept. Threads: safe; two that store into one directory at once leave the
//          image of one of them.
// Errors:  absl::Status
//            kDataLoss            no image, a torn one, or a digest that differs;
//            kFailedPrecondition  a newer format, an unknown feature, another kind of digest;
//            kResourceExhausted   larger than kMaxImageBytes;
//            kNotFound            there is no image in the directory;
//            and the host's errno, see ToStatus.
// Source:  spec/security.md s.6.

#ifndef CHECKPOINT_IMAGE_FILE_H_
#define CHECKPOINT_IMAGE_FILE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "gofer/base/name.h"
#include "gofer/base/unique_fd.h"

namespace gofer::checkpoint {

inline constexpr char kImageName[] = "gofer.img";
inline constexpr uint16_t kImageMajor = 1;
inline constexpr uint16_t kImageMinor = 0;
inline constexpr size_t kImageHeaderSize = 96;
inline constexpr size_t kMaxImageBytes = size_t{256} << 20;

// A secret of the caller; empty: images are protected against accidents, not against forgers.
struct ImageKey {
  std::string secret;
};

using ImageHeader = std::array<char, kImageHeaderSize>;

// What goes before the payload.
ImageHeader MakeImageHeader(absl::string_view payload, const ImageKey& key);
// The payload of a whole image, verified; a part of `image`.
absl::StatusOr<absl::string_view> PayloadOf(absl::string_view image, const ImageKey& key);

// Writes an image to an empty file; it is whole on the disk when this returns.
absl::Status WriteImage(BorrowedFd file, absl::string_view payload, const ImageKey& key);

// A file beside the directory's image, to be put into its place when it is whole: after a crash at
// any moment there is the old image or the new one. Who writes it needs no access to the directory.
//
// Owner:   borrows the directory. Removes the file unless it was committed.
class PendingImage {
 public:
  static absl::StatusOr<PendingImage> Create(BorrowedFd directory);
  PendingImage(PendingImage&& other) noexcept
      : directory_(other.directory_),
        name_(std::exchange(other.name_, std::nullopt)),
        file_(std::move(other.file_)) {}
  PendingImage& operator=(PendingImage&&) = delete;
  ~PendingImage();

  BorrowedFd file() const { return file_; }
  // On an error the old image stays, but for one of the directory's sync: then the new one is there
  // and may not survive a crash of the machine.
  absl::Status Commit() &&;

 private:
  PendingImage(BorrowedFd directory, Name name, UniqueFd file)
      : directory_(directory), name_(std::move(name)), file_(std::move(file)) {}

  BorrowedFd directory_;
  std::optional<Name> name_;  // until it has another
  UniqueFd file_;
};

// All of it in one step.
absl::Status StoreImage(BorrowedFd directory, absl::string_view payload, const ImageKey& key);
// The payload of the directory's image.
absl::StatusOr<std::string> LoadImage(BorrowedFd directory, const ImageKey& key);
// Removes what a crash in StoreImage has left behind. Returns how many files.
absl::StatusOr<int> RemoveStrayImages(BorrowedFd directory);

}  // namespace gofer::checkpoint

#endif  // CHECKPOINT_IMAGE_FILE_H_
