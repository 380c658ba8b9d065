// Images whose digest fits and that no gofer has written: each field of each
// message changed, cut at every byte, every bit flipped, and bombs that are small on the disk. All
// are refused in bounded time and memory, or mean something that is harmless: then the restore of
// them leaves alone what is outside the tree, and does not end the process.

#include <nettle/sha2.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "checkpoint/damages.h"
#include "checkpoint/image_file.h"
#include "checkpoint/load.h"
#include "fuse/session/session.h"
#include "gmock/gmock.h"
#include "gofer/base/name.h"
#include "gofer/fs/filesystem.h"
#include "gofer/fs/tree_restore.h"
#include "gofer/sys/host_fs.h"
#include "gtest/gtest.h"
#include "test/checkpoint/life.h"
#include "test/checkpoint/wire_tree.h"
#include "test/support/gofer_process.h"
#include "test/support/results.h"
#include "test/support/stopwatch.h"
#include "test/support/temp_tree.h"

namespace gofer::testing {
namespace {

using checkpoint::Loaded;
using ::testing::HasSubstr;

std::string SamplePayload() {
  std::string payload;
  CHECK(checkpoint::SampleImage().SerializeToString(&payload));
  return payload;
}

std::string WithDigest(absl::string_view payload) {
  const checkpoint::ImageHeader header = checkpoint::MakeImageHeader(payload, {});
  return absl::StrCat(absl::string_view(header.data(), header.size()), payload);
}

// What the decoder promises, looked at once more by other code than its own.
void ExpectConsistent(const fs::FilesystemState& state) {
  ASSERT_FALSE(state.dentries.empty());
  std::set<std::pair<uint32_t, std::string>> places;
  for (uint32_t row = 0; row < state.dentries.size(); ++row) {
    const fs::DentryState& name = state.dentries[row];
    ASSERT_LT(name.inode, state.inodes.size());
    if (row == 0) continue;
    ASSERT_LT(name.parent, row) << "a cycle, or a child before its parent";
    EXPECT_EQ(state.inodes[state.dentries[name.parent].inode].type, uint32_t{S_IFDIR});
    if (name.deleted) continue;
    EXPECT_TRUE(Name::Parse(name.name).ok()) << name.name;
    EXPECT_TRUE(places.emplace(name.parent, name.name).second || name.astray) << name.name;
  }
  for (const fs::InodeState& inode : state.inodes) {
    EXPECT_LE(inode.size, uint64_t{INT64_MAX});
    EXPECT_LE(inode.handle.size(), 128u);
    EXPECT_LT(inode.mtime.nsec, 1'000'000'000u);
  }
  for (const fs::HandleState& handle : state.handles) {
    ASSERT_LT(handle.dentry, state.dentries.size());
    EXPECT_EQ(handle.flags & ~fs::kSavedHandleFlags, 0u);
    EXPECT_LE(handle.unread.size(), fs::kMaxUnreadBytes);
  }
  for (const fs::DeletedFileState& file : state.deleted_files) {
    ASSERT_LT(file.inode, state.inodes.size());
    EXPECT_LE(file.mode, 07777u);
    for (const fs::Extent& extent : file.extents) {
      EXPECT_LE(extent.offset + extent.data.size(), state.inodes[file.inode].size);
    }
  }
}

class TamperTest : public ::testing::Test {
 protected:
  TamperTest() {
    // As SampleFiles has it; beside it, what nobody may touch.
    outside_.Write("secret", "outside");
    outside_.Mkdir("served");
    outside_.Mkdir("served/dir");
    outside_.Write("served/dir/\xff\x01 not text", std::string(100, 'x'));
    outside_.Fifo("served/fifo");
    before_ = outside_.Snapshot();
  }

  // Whether it was taken for an image.
  bool Try(absl::string_view payload) {
    absl::StatusOr<Loaded> loaded = checkpoint::Decode(payload);
    if (!loaded.ok()) {
      EXPECT_EQ(loaded.status().code(), absl::StatusCode::kDataLoss) << loaded.status();
      return false;
    }
    ExpectConsistent(loaded->files);
    if (!HasFatalFailure()) Restore(*std::move(loaded));
    return true;
  }

  void Restore(Loaded loaded) {
    RestoreSandbox(loaded);
    RestoreGuests(loaded);
    EXPECT_EQ(outside_.Snapshot(), before_);
  }
  void RestoreSandbox(const Loaded& loaded) {
    if (loaded.lisafs.connections.empty()) return;
    Life life(outside_.OpenPath("served"), {.host_fifo_open = true});
    const absl::Status restored = life.Restore(loaded.files, loaded.lisafs);
    if (restored.ok()) ++restored_;
  }
  void RestoreGuests(const Loaded& loaded) {
    auto filesystem =
        fs::Filesystem::Create(outside_.OpenPath("served"), Must(sys::OpenProcSelfFd()), {});
    ASSERT_TRUE(filesystem.ok()) << filesystem.status();
    fs::TreeRestore tree(**filesystem, loaded.files, {});
    tree.Examine();
    if (!tree.Take().ok()) return;
    for (const checkpoint::FuseClientState& client : loaded.fuse) {
      fuse::Session session(filesystem->get(),
                            {.readonly = client.session.readonly, .posix_locks = true});
      if (session.Restore(client.session, tree).ok()) ++restored_;
    }
  }

  TempTree outside_;
  std::map<std::string, std::string> before_;
  int restored_ = 0;
};

TEST_F(TamperTest, TheSampleItselfIsTaken) { EXPECT_TRUE(Try(SamplePayload())); }

// The damages that the codecs' own tests know, in whole images.
TEST_F(TamperTest, WhatTheCodecsRefuseIsRefusedAsAWhole) {
  const auto refused = [](const auto& damage, auto&& part) {
    SCOPED_TRACE(damage.what);
    checkpoint::Image image = checkpoint::SampleImage();
    damage.apply(part(image));
    std::string payload;
    ASSERT_TRUE(image.SerializeToString(&payload));
    const std::string whole = WithDigest(payload);
    const absl::StatusOr<absl::string_view> verified = checkpoint::PayloadOf(whole, {});
    ASSERT_TRUE(verified.ok()) << verified.status();
    const absl::Status status = checkpoint::Decode(*verified).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(status.message(), HasSubstr(damage.message));
  };
  for (const auto& damage : checkpoint::FilesystemDamages()) {
    refused(
        damage, [](auto& image) -> auto& { return *image.mutable_filesystem(); });
  }
  for (const auto& damage : checkpoint::LisafsDamages()) {
    refused(
        damage, [](auto& image) -> auto& { return *image.mutable_lisafs(0); });
  }
  for (const auto& damage : checkpoint::FuseDamages()) {
    refused(
        damage, [](auto& image) -> auto& { return *image.mutable_fuse(0); });
  }
  for (const auto& damage : checkpoint::ImageDamages()) {
    refused(
        damage, [](auto& image) -> auto& { return image; });
  }
}

TEST_F(TamperTest, EveryFieldChanged) {
  const std::optional<WireTree> tree = TakeApart(SamplePayload());
  ASSERT_TRUE(tree.has_value());
  ASSERT_EQ(PutTogether(*tree), SamplePayload());
  int changes = 0;
  int refused = 0;
  ForEachChange(*tree, [&](const WireTree& changed, const std::string& what) {
    SCOPED_TRACE(what);
    ++changes;
    if (!Try(PutTogether(changed))) ++refused;
  });
  EXPECT_GT(changes, 1000);
  EXPECT_GT(refused, changes / 3);
  EXPECT_GT(restored_, 0) << "a sample that nobody can restore shows little";
}

TEST_F(TamperTest, EveryPrefixButWholeFieldsIsRefused) {
  const std::string payload = SamplePayload();
  // After the files: the clients of a shorter list are all that is missing.
  std::set<size_t> whole;
  std::string so_far;
  const std::optional<WireTree> tree = TakeApart(payload);
  ASSERT_TRUE(tree.has_value());
  for (const WireField& field : *tree) {
    so_far += PutTogether({field});
    if (field.number >= 2) whole.insert(so_far.size());
  }
  for (size_t size = 0; size <= payload.size(); ++size) {
    EXPECT_EQ(checkpoint::Decode(absl::string_view(payload).substr(0, size)).ok(),
              whole.contains(size))
        << "prefix of " << size << " bytes";
  }
}

TEST_F(TamperTest, EveryBitFlipped) {
  const std::string payload = SamplePayload();
  for (size_t bit = 0; bit < payload.size() * 8; ++bit) {
    SCOPED_TRACE(absl::StrCat("bit ", bit));
    std::string flipped = payload;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    absl::StatusOr<Loaded> loaded = checkpoint::Decode(flipped);
    if (!loaded.ok()) {
      EXPECT_EQ(loaded.status().code(), absl::StatusCode::kDataLoss);
      continue;
    }
    ExpectConsistent(loaded->files);
    // The changes of whole fields have been restored above; of these a part.
    if (bit % 16 == 0) Restore(*std::move(loaded));
  }
}

// ---- the header, with a digest over what it says

std::string Resealed(std::string image, size_t offset, absl::string_view bytes) {
  image.replace(offset, bytes.size(), bytes);
  struct sha256_ctx context;
  sha256_init(&context);
  const auto* const data = reinterpret_cast<const uint8_t*>(image.data());
  sha256_update(&context, 64, data);
  sha256_update(&context, image.size() - 96, data + 96);
  sha256_digest(&context, 32, reinterpret_cast<uint8_t*>(image.data() + 64));
  return image;
}

TEST(TamperHeaderTest, EachFieldIsChecked) {
  using absl::StatusCode;
  const std::string image = WithDigest(SamplePayload());
  ASSERT_EQ(Resealed(image, 0, "G"), image) << "the digest is not the one of the header";
  const struct {
    size_t offset;
    absl::string_view bytes;
    StatusCode code;
    const char* message;
  } kCases[] = {
      {0, "g", StatusCode::kDataLoss, "no image of a gofer"},
      {8, absl::string_view("\0", 1), StatusCode::kFailedPrecondition, "format 0.0"},
      {8, "\2", StatusCode::kFailedPrecondition, "restore with the version that saved it"},
      {9, "\1", StatusCode::kFailedPrecondition, "format 257.0"},
      {10, "\7", StatusCode::kOk, ""},  // a newer minor adds what may be skipped
      {12, "\2", StatusCode::kFailedPrecondition, "protected by a key"},
      {12, "\3", StatusCode::kFailedPrecondition, "a digest of kind 3"},
      {12, absl::string_view("\0", 1), StatusCode::kFailedPrecondition, "a digest of kind 0"},
      {16, "\1", StatusCode::kFailedPrecondition, "needs features 0x1"},
      {23, "\x80", StatusCode::kFailedPrecondition, "needs features 0x8000000000000000"},
      {24, "\1", StatusCode::kDataLoss, "it is torn"},
      {31, "\xff", StatusCode::kDataLoss, "it is torn"},
      {32, "\1", StatusCode::kDataLoss, "are not zero"},
      {63, "\1", StatusCode::kDataLoss, "are not zero"},
  };
  for (const auto& test : kCases) {
    const absl::Status status =
        checkpoint::PayloadOf(Resealed(image, test.offset, test.bytes), {}).status();
    EXPECT_EQ(status.code(), test.code) << test.offset << ": " << status;
    EXPECT_THAT(status.message(), HasSubstr(test.message)) << test.offset;
  }
}

// ---- bombs, for the program itself

// What runs meanwhile may not take more memory. Not under a sanitizer, which takes all there is.
class AddressSpaceLimit {
 public:
  explicit AddressSpaceLimit(rlim_t bytes) {
    PCHECK(getrlimit(RLIMIT_AS, &before_) == 0);
#ifndef GOFER_SANITIZER
    const struct rlimit limit = {.rlim_cur = bytes, .rlim_max = before_.rlim_max};
    PCHECK(setrlimit(RLIMIT_AS, &limit) == 0);
#else
    (void)bytes;
#endif
  }
  ~AddressSpaceLimit() { PCHECK(setrlimit(RLIMIT_AS, &before_) == 0); }

 private:
  struct rlimit before_;
};

std::string Repeated(absl::string_view piece, size_t bytes) {
  std::string text;
  text.reserve(bytes + piece.size());
  while (text.size() < bytes) text += piece;
  return text;
}

// A field with `content`.
std::string Sized(int number, absl::string_view content) {
  return PutTogether(
      {{.number = number, .kind = WireField::Kind::kBytes, .bytes = std::string(content)}});
}

constexpr size_t kBombBytes = 32 << 20;

std::string Bomb(absl::string_view name) {
  if (name == "sandboxes") return Repeated(Sized(3, ""), kBombBytes);
  if (name == "guests") return Repeated(Sized(4, ""), kBombBytes);
  if (name == "trees") return Repeated(Sized(2, ""), kBombBytes);
  if (name == "handles") return Sized(2, Repeated(Sized(3, ""), kBombBytes));
  if (name == "extents") return Sized(2, Sized(4, Repeated(Sized(5, ""), kBombBytes)));
  if (name == "numbers") return Sized(2, Sized(1, Sized(4, std::string(kBombBytes, '\0'))));
  if (name == "groups") return std::string(kBombBytes, '\x0b');
  return Repeated(absl::string_view("\x78\0", 2), kBombBytes);  // fields of another version
}

class BombTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BombTest, IsRefusedInTimeAndMemory) {
  const TempTree images;
  images.Write(checkpoint::kImageName, WithDigest(Bomb(GetParam())));
  const Stopwatch watch;
  const AddressSpaceLimit limit(rlim_t{512} << 20);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"inspect", images.path()},
        {"restore", "--root=" + images.path(), "--image_path=" + images.path(),
         "--lisafs_socket=" + images.At("socket"), "--sandbox=none"}}) {
    const absl::Duration begin = watch.Elapsed();
    GoferProcess gofer({.arguments = arguments});
    EXPECT_EQ(gofer.Wait(), 1) << gofer.Stderr();
    EXPECT_LT(watch.Elapsed() - begin, absl::Seconds(5));
    EXPECT_THAT(gofer.Stderr(), HasSubstr("image: "));
  }
}

INSTANTIATE_TEST_SUITE_P(Each, BombTest,
                         ::testing::Values("sandboxes", "guests", "trees", "handles", "extents",
                                           "numbers", "groups", "unknown"),
                         [](const auto& info) { return std::string(info.param); });

TEST(TamperFileTest, AFileThatIsTooLargeIsNotRead) {
  const TempTree images;
  images.Write(checkpoint::kImageName, WithDigest(SamplePayload()));
  PCHECK(truncate(images.At(checkpoint::kImageName).c_str(), off_t{1} << 40) == 0);
  const Stopwatch watch;
  const AddressSpaceLimit limit(rlim_t{512} << 20);
  GoferProcess gofer({.arguments = {"inspect", images.path()}});
  EXPECT_EQ(gofer.Wait(), 1);
  EXPECT_LT(watch.Elapsed(), absl::Seconds(5));
  EXPECT_THAT(gofer.Stderr(), HasSubstr("is larger than the limit of"));
}

}  // namespace
}  // namespace gofer::testing
