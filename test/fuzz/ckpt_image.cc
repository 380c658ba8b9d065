// Fuzzes what reads an image. Input: a payload, whose digest is made to fit; mutated by fields, so
// that most of it gets past the parser. What is accepted is written to the same values again, is
// shown to a person without a complaint, and names no place outside the tree.

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "checkpoint/codec.h"
#include "checkpoint/describe.h"
#include "checkpoint/fuse_codec.h"
#include "checkpoint/image_file.h"
#include "checkpoint/lisafs_codec.h"
#include "checkpoint/load.h"
#include "glog/logging.h"
#include "gofer/base/name.h"
#include "test/checkpoint/wire_tree.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size)
    __attribute__((weak));

namespace gofer::checkpoint {
namespace {

std::string Written(const Loaded& loaded) {
  Image image;
  *image.mutable_filesystem() = Encode(loaded.files);
  Encode(loaded.lisafs, image);
  Encode(loaded.fuse, image);
  std::string payload;
  CHECK(image.SerializeToString(&payload));
  return payload;
}

void CheckNames(const fs::FilesystemState& state) {
  CHECK(!state.dentries.empty());
  for (uint32_t row = 1; row < state.dentries.size(); ++row) {
    const fs::DentryState& name = state.dentries[row];
    CHECK_LT(name.parent, row);
    CHECK_LT(name.inode, state.inodes.size());
    CHECK(Name::Parse(name.name).ok() || (name.deleted && name.name.empty()));
  }
}

void Check(absl::string_view payload) {
  const absl::StatusOr<Loaded> loaded = Decode(payload);
  if (!loaded.ok()) {
    CHECK(absl::IsDataLoss(loaded.status())) << loaded.status();
    return;
  }
  CheckNames(loaded->files);
  const std::string written = Written(*loaded);
  const absl::StatusOr<Loaded> again = Decode(written);
  CHECK(again.ok()) << again.status();
  CHECK(Written(*again) == written);
  // What is shown is a good part of the time, and the same code for most of what is accepted.
  if (payload.size() % 4 == 0) (void)DescribeAsText(*loaded, {.tree = true});
  if (payload.size() % 4 == 1) (void)DescribeAsJson(*loaded, {.tree = true});
}

}  // namespace
}  // namespace gofer::checkpoint

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gofer::checkpoint;  // NOLINT: one function
  const absl::string_view payload(reinterpret_cast<const char*>(data), size);
  // As bytes from anywhere, and as an image.
  (void)PayloadOf(payload, {}).ok();
  const ImageHeader header = MakeImageHeader(payload, {});
  const std::string image = absl::StrCat(absl::string_view(header.data(), header.size()), payload);
  const absl::StatusOr<absl::string_view> verified = PayloadOf(image, {});
  CHECK(verified.ok()) << verified.status();
  Check(*verified);
  return 0;
}

// Half of the time a field is changed and all lengths fit; else bytes, as they come.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                          unsigned seed) {
  std::mt19937 random(seed);
  const absl::string_view payload(reinterpret_cast<const char*>(data), size);
  std::optional<gofer::testing::WireTree> tree = gofer::testing::TakeApart(payload);
  if (tree.has_value() && random() % 2 == 0) {
    for (uint64_t left = 1 + random() % 3; left > 0; --left) {
      gofer::testing::ChangeSomething(*tree, random);
    }
    const std::string changed = gofer::testing::PutTogether(*tree);
    if (changed.size() <= max_size) {
      changed.copy(reinterpret_cast<char*>(data), changed.size());
      return changed.size();
    }
  }
  return LLVMFuzzerMutate(data, size, max_size);
}
