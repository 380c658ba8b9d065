#include "checkpoint/image_file.h"

#include <fcntl.h>
#include <nettle/hmac.h>
#include <nettle/memops.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "glog/logging.h"
#include "gofer/base/byte_reader.h"
#include "gofer/base/byte_writer.h"
#include "gofer/base/errno.h"
#include "gofer/base/exit_status.h"
#include "gofer/base/name.h"
#include "gofer/base/status_macros.h"
#include "gofer/sys/host_fs.h"
#include "gofer/sys/own_directory.h"
#include "gofer/sys/process.h"
#include "gofer/sys/random.h"

namespace gofer::checkpoint {
namespace {

constexpr absl::string_view kMagic = "GOFERIMG";
constexpr absl::string_view kTemporaryPrefix = ".gofer.img.";
constexpr size_t kDigestOffset = 64;
constexpr size_t kDigestSize = SHA256_DIGEST_SIZE;
static_assert(kDigestOffset + kDigestSize == kImageHeaderSize);

enum class DigestKind : uint32_t { kSha256 = 1, kHmacSha256 = 2 };

using Digest = std::array<char, kDigestSize>;

const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

DigestKind KindFor(const ImageKey& key) {
  return key.secret.empty() ? DigestKind::kSha256 : DigestKind::kHmacSha256;
}

Digest DigestOf(absl::string_view head, absl::string_view payload, const ImageKey& key) {
  Digest digest;
  auto* const out = reinterpret_cast<uint8_t*>(digest.data());
  if (key.secret.empty()) {
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, head.size(), Bytes(head));
    sha256_update(&context, payload.size(), Bytes(payload));
    sha256_digest(&context, digest.size(), out);
  } else {
    struct hmac_sha256_ctx context;
    hmac_sha256_set_key(&context, key.secret.size(), Bytes(key.secret));
    hmac_sha256_update(&context, head.size(), Bytes(head));
    hmac_sha256_update(&context, payload.size(), Bytes(payload));
    hmac_sha256_digest(&context, digest.size(), out);
  }
  return digest;
}

struct Header {
  uint16_t major;
  uint16_t minor;
  DigestKind digest_kind;
  uint64_t features;
  uint64_t payload_size;
};

absl::StatusOr<Header> ParseHeader(absl::string_view image) {
  if (image.size() < kImageHeaderSize) {
    return absl::DataLossError(absl::StrCat("image of ", image.size(),
                                            " bytes: its header alone has ", kImageHeaderSize,
                                            "; it is torn or no image"));
  }
  ByteReader reader("image header", std::as_bytes(std::span(image.data(), kDigestOffset)));
  if (reader.ReadBytes(kMagic.size()) != kMagic) {
    return absl::DataLossError("image: does not begin with GOFERIMG; it is no image of a gofer");
  }
  Header header;
  header.major = reader.Read<uint16_t>();
  header.minor = reader.Read<uint16_t>();
  header.digest_kind = static_cast<DigestKind>(reader.Read<uint32_t>());
  header.features = reader.Read<uint64_t>();
  header.payload_size = reader.Read<uint64_t>();
  const absl::string_view reserved = reader.ReadBytes(reader.remaining());
  if (header.major != kImageMajor) {
    return absl::FailedPreconditionError(
        absl::StrCat("image: format ", header.major, ".", header.minor, ", this gofer reads ",
                     kImageMajor, ".x; restore with the version that saved it"));
  }
  if (header.features != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("image: needs features 0x", absl::Hex(header.features),
                     ", this gofer knows none; restore with the version that saved it"));
  }
  if (header.payload_size != image.size() - kImageHeaderSize) {
    return absl::DataLossError(absl::StrCat("image: ", image.size() - kImageHeaderSize,
                                            " bytes of payload, its header says ",
                                            header.payload_size, "; it is torn"));
  }
  if (std::any_of(reserved.begin(), reserved.end(), [](char byte) { return byte != 0; })) {
    return absl::DataLossError("image: reserved bytes of its header are not zero");
  }
  return header;
}

absl::Status CheckDigest(const Header& header, absl::string_view image, const ImageKey& key) {
  if (header.digest_kind != DigestKind::kSha256 && header.digest_kind != DigestKind::kHmacSha256) {
    return absl::FailedPreconditionError(
        absl::StrCat("image: has a digest of kind ", static_cast<uint32_t>(header.digest_kind),
                     ", this gofer knows 1 and 2; restore with the version that saved it"));
  }
  if (header.digest_kind != KindFor(key)) {
    return absl::FailedPreconditionError(
        key.secret.empty() ? "image: is protected by a key, and none was given"
                           : "image: is not protected by a key, and one was given");
  }
  const Digest digest =
      DigestOf(image.substr(0, kDigestOffset), image.substr(kImageHeaderSize), key);
  // In constant time, so that a forger learns nothing from how long it takes.
  if (memeql_sec(digest.data(), image.data() + kDigestOffset, kDigestSize) == 0) {
    return absl::DataLossError(absl::StrCat(
        "image: its digest is ", absl::BytesToHexString(image.substr(kDigestOffset, kDigestSize)),
        ", its content's is ",
        absl::BytesToHexString(absl::string_view(digest.data(), digest.size())),
        key.secret.empty() ? "; it was damaged" : "; it was damaged, or the key is another one"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Name> TemporaryName() {
  std::array<std::byte, 8> random;
  if (const ErrnoOr<void> filled = sys::FillRandom(random); !filled.ok()) {
    return ToStatus(filled.error(), "getrandom");
  }
  const absl::string_view bytes(reinterpret_cast<const char*>(random.data()), random.size());
  const ErrnoOr<Name> name =
      Name::Parse(absl::StrCat(kTemporaryPrefix, absl::BytesToHexString(bytes)));
  CHECK(name.ok());
  return *name;
}

Name ImageName() {
  const ErrnoOr<Name> name = Name::Parse(kImageName);
  CHECK(name.ok());
  return *name;
}

// Writes a file that is whole on the disk when this returns.
ErrnoOr<void> WriteDurably(BorrowedFd file, absl::string_view header, absl::string_view payload) {
  RETURN_IF_ERROR(sys::WriteAll(file, header));
  RETURN_IF_ERROR(sys::WriteAll(file, payload));
  return sys::FSync(file);
}

}  // namespace

ImageHeader MakeImageHeader(absl::string_view payload, const ImageKey& key) {
  ImageHeader header = {};
  ByteWriter writer(std::as_writable_bytes(std::span(header)));
  writer.WriteBytes(kMagic);
  writer.Write(kImageMajor);
  writer.Write(kImageMinor);
  writer.Write(static_cast<uint32_t>(KindFor(key)));
  writer.Write(uint64_t{0});
  writer.Write(uint64_t{payload.size()});
  const Digest digest = DigestOf(absl::string_view(header.data(), kDigestOffset), payload, key);
  std::copy(digest.begin(), digest.end(), header.begin() + kDigestOffset);
  return header;
}

absl::StatusOr<absl::string_view> PayloadOf(absl::string_view image, const ImageKey& key) {
  ASSIGN_OR_RETURN(const Header header, ParseHeader(image));
  RETURN_IF_ERROR(CheckDigest(header, image, key));
  return image.substr(kImageHeaderSize);
}

absl::Status WriteImage(BorrowedFd file, absl::string_view payload, const ImageKey& key) {
  if (payload.size() > kMaxImageBytes - kImageHeaderSize) {
    return absl::ResourceExhaustedError(absl::StrCat("image: ", payload.size() + kImageHeaderSize,
                                                     " bytes, the limit is ", kMaxImageBytes));
  }
  const ImageHeader header = MakeImageHeader(payload, key);
  // After a failed sync the kernel may call the next one a success, so there is no second try.
  const ErrnoOr<void> written =
      WriteDurably(file, absl::string_view(header.data(), header.size()), payload);
  return written.ok() ? absl::OkStatus() : ToStatus(written.error(), "image: write it");
}

absl::StatusOr<PendingImage> PendingImage::Create(BorrowedFd directory) {
  ASSIGN_OR_RETURN(const Name name, TemporaryName());
  ErrnoOr<UniqueFd> file = sys::CreateExclusive(directory, name, O_WRONLY, 0600);
  if (!file.ok()) return ToStatus(file.error(), absl::StrCat("image: create ", name.view()));
  return PendingImage(directory, name, *std::move(file));
}

PendingImage::~PendingImage() {
  if (name_.has_value()) (void)sys::Unlink(directory_, *name_, 0).ok();
}

absl::Status PendingImage::Commit() && {
  const ErrnoOr<void> renamed = sys::Rename(directory_, *name_, directory_, ImageName(), 0);
  if (!renamed.ok()) {
    return ToStatus(renamed.error(),
                    absl::StrCat("image: rename ", name_->view(), " to ", kImageName));
  }
  name_.reset();
  if (const ErrnoOr<void> synced = sys::FSync(directory_); !synced.ok()) {
    return ToStatus(synced.error(),
                    "image: sync its directory; the new one is there and may not "
                    "survive a crash of the machine");
  }
  return absl::OkStatus();
}

absl::Status StoreImage(BorrowedFd directory, absl::string_view payload, const ImageKey& key) {
  ASSIGN_OR_RETURN(PendingImage image, PendingImage::Create(directory));
  RETURN_IF_ERROR(WriteImage(image.file(), payload, key));
  return std::move(image).Commit();
}

absl::StatusOr<std::string> LoadImage(BorrowedFd directory, const ImageKey& key) {
  const ErrnoOr<UniqueFd> file = sys::OpenRegular(directory, ImageName());
  if (!file.ok()) {
    if (file.error() == ENOENT) {
      return absl::NotFoundError(absl::StrCat("image: no ", kImageName, " in the directory"));
    }
    if (file.error() == EINVAL) {
      // What lies there is wrong, not the command line.
      return WithExitStatus(
          ToStatus(file.error(), absl::StrCat("image: ", kImageName, " is no regular file")),
          kExitFailure);
    }
    return ToStatus(file.error(), absl::StrCat("image: open ", kImageName));
  }
  ErrnoOr<std::string> image = sys::ReadToEnd(*file, kMaxImageBytes);
  if (!image.ok()) {
    if (image.error() == EFBIG) {
      return absl::ResourceExhaustedError(
          absl::StrCat("image: ", kImageName, " is larger than the limit of ", kMaxImageBytes));
    }
    return ToStatus(image.error(), absl::StrCat("image: read ", kImageName));
  }
  RETURN_IF_ERROR(PayloadOf(*image, key).status());
  image->erase(0, kImageHeaderSize);
  return *std::move(image);
}

absl::StatusOr<int> RemoveStrayImages(BorrowedFd directory) {
  const ErrnoOr<std::vector<std::string>> names = sys::ListNames(directory);
  if (!names.ok()) return ToStatus(names.error(), "image: list its directory");
  int removed = 0;
  for (const std::string& text : *names) {
    if (!absl::StartsWith(text, kTemporaryPrefix)) continue;
    const ErrnoOr<Name> name = Name::Parse(text);
    if (name.ok() && sys::Unlink(directory, *name, 0).ok()) ++removed;
  }
  return removed;
}

}  // namespace gofer::checkpoint
