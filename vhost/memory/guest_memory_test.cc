#include "vhost/memory/guest_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace gofer::vhost {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kUser = uint64_t{0x7f} << 40;

UniqueFd MakeFile(uint64_t size) {
  UniqueFd file(memfd_create("guest", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(size)), 0);
  return file;
}

class GuestMemoryTest : public testing::Test {
 protected:
  GuestMemoryTest() : file_(MakeFile(64 * kPage)) {}

  GuestMemory::NewRegion Region(uint64_t guest, uint64_t pages, uint64_t file_page = 0) {
    return {.layout = {.guest_address = guest,
                       .size = pages * kPage,
                       .user_address = kUser + guest,
                       .file_offset = file_page * kPage},
            .file = file_};
  }
  RefPtr<const GuestMemory> Table(const std::vector<GuestMemory::NewRegion>& regions) {
    auto table = GuestMemory::Create(regions, BorrowedFd());
    EXPECT_TRUE(table.ok()) << table.status();
    return table.ok() ? *table : RefPtr<const GuestMemory>();
  }
  static absl::StatusCode CodeOf(const std::vector<GuestMemory::NewRegion>& regions) {
    return GuestMemory::Create(regions, BorrowedFd()).status().code();
  }

  const UniqueFd file_;
  GuestMemory::Hint hint_;
};

TEST_F(GuestMemoryTest, APieceEndsWithItsRegion) {
  // The second region is the guest's next, but lies elsewhere in the file.
  const auto table = Table({Region(0x10000, 2), Region(0x12000, 1, 40), Region(0x20000, 1, 8)});
  const auto first = table->Piece(0x10000, 100, hint_);
  ASSERT_EQ(first.size(), 100u);
  std::memcpy(first.data(), "first", 5);
  const auto crossing = table->Piece(0x11ffe, 4, hint_);
  EXPECT_EQ(crossing.size(), 2u);
  const auto second = table->Piece(0x12000, 2, hint_);
  ASSERT_EQ(second.size(), 2u);
  std::memcpy(second.data(), "2n", 2);
  char back[5];
  ASSERT_EQ(pread(file_.get(), back, 5, 0), 5);
  EXPECT_EQ(std::string(back, 5), "first");
  ASSERT_EQ(pread(file_.get(), back, 2, 40 * kPage), 2);
  EXPECT_EQ(std::string(back, 2), "2n");

  EXPECT_TRUE(table->Piece(0x13000, 1, hint_).empty()) << "hole";
  EXPECT_TRUE(table->Piece(0xffff, 1, hint_).empty()) << "before all";
  EXPECT_TRUE(table->Piece(0x21000, 1, hint_).empty()) << "after all";
  EXPECT_TRUE(table->Piece(UINT64_MAX, 1, hint_).empty());
  EXPECT_EQ(table->Piece(0x20fff, UINT64_MAX, hint_).size(), 1u) << "the sum of both wraps";
}

TEST_F(GuestMemoryTest, TheHintIsNoMoreThanAHint) {
  const auto table = Table({Region(0, 1), Region(0x4000, 1, 1), Region(0x8000, 1, 2)});
  for (const size_t region : {size_t{0}, size_t{1}, size_t{2}, size_t{3}, SIZE_MAX}) {
    for (const uint64_t address : {uint64_t{0}, uint64_t{0x4000}, uint64_t{0x8fff}}) {
      GuestMemory::Hint hint{.region = region};
      EXPECT_EQ(table->Piece(address, 1, hint).size(), 1u);
      EXPECT_EQ(hint.region, address / 0x4000);
    }
    GuestMemory::Hint hint{.region = region};
    EXPECT_TRUE(table->Piece(0x1000, 1, hint).empty());
  }
}

TEST_F(GuestMemoryTest, CopiesOverBorders) {
  const auto table = Table({Region(0x10000, 1), Region(0x11000, 1, 40)});
  ASSERT_EQ(pwrite(file_.get(), "abc", 3, kPage - 3), 3);
  ASSERT_EQ(pwrite(file_.get(), "def", 3, 40 * kPage), 3);
  std::array<std::byte, 6> copy;
  ASSERT_TRUE(table->CopyOut(0x10ffd, copy, hint_));
  EXPECT_EQ(std::memcmp(copy.data(), "abcdef", 6), 0);
  EXPECT_FALSE(table->CopyOut(0x11ffd, copy, hint_));
  EXPECT_TRUE(table->Contains(0x10000, 2 * kPage, hint_));
  EXPECT_FALSE(table->Contains(0x10000, 2 * kPage + 1, hint_));
  EXPECT_FALSE(table->Contains(0xffff, 2, hint_));
  EXPECT_FALSE(table->Contains(0x10000, UINT64_MAX, hint_));
}

TEST_F(GuestMemoryTest, UserAddressesAreWithinOneRegion) {
  const auto table = Table({Region(0x10000, 1), Region(0x11000, 1, 40)});
  EXPECT_NE(table->AtUserAddress(kUser + 0x10000, kPage), nullptr);
  EXPECT_EQ(table->AtUserAddress(kUser + 0x10000, kPage + 1), nullptr);
  EXPECT_EQ(table->AtUserAddress(kUser + 0x10fff, 2), nullptr);
  EXPECT_NE(table->AtUserAddress(kUser + 0x11000, 1), nullptr);
  EXPECT_EQ(table->AtUserAddress(kUser + 0xffff, 1), nullptr);
  EXPECT_EQ(table->AtUserAddress(0x10000, 1), nullptr) << "a guest address";
  EXPECT_EQ(table->AtUserAddress(kUser + 0x10001, UINT64_MAX), nullptr);
}

TEST_F(GuestMemoryTest, GivesAddressesBack) {
  const auto table = Table({Region(0x10000, 2), Region(0x20000, 1, 40)});
  uint64_t rest = 0;
  EXPECT_EQ(table->GuestAddressOf(table->Piece(0x10005, 1, hint_).data(), rest), 0x10005u);
  EXPECT_EQ(rest, 2 * kPage - 5);
  EXPECT_EQ(table->GuestAddressOf(table->Piece(0x20fff, 1, hint_).data(), rest), 0x20fffu);
  EXPECT_EQ(rest, 1u);
  std::byte other;
  EXPECT_EQ(table->GuestAddressOf(&other, rest), std::nullopt);
}

TEST_F(GuestMemoryTest, TwoRegionsOfOneFileAreTheSameBytes) {
  const auto table = Table({Region(0, 4, 0), Region(uint64_t{1} << 32, 4, 4)});
  const auto above = table->Piece((uint64_t{1} << 32) + 10, 3, hint_);
  std::memcpy(above.data(), "top", 3);
  char back[3];
  ASSERT_EQ(pread(file_.get(), back, 3, 4 * kPage + 10), 3);
  EXPECT_EQ(std::string(back, 3), "top");
}

TEST_F(GuestMemoryTest, ImpossibleTablesAreRefused) {
  using Code = absl::StatusCode;
  auto changed = [this](auto change) {
    GuestMemory::NewRegion region = Region(0x10000, 4);
    change(region.layout);
    return std::vector<GuestMemory::NewRegion>{region};
  };
  EXPECT_EQ(CodeOf({}), Code::kOk);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.size = 0; })), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.guest_address = UINT64_MAX - kPage; })),
            Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.user_address = UINT64_MAX - kPage; })),
            Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.file_offset = UINT64_MAX - kPage; })),
            Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.size = UINT64_MAX; })),
            Code::kResourceExhausted);
  EXPECT_EQ(CodeOf(changed([](RegionLayout& l) { l.size = kMaxGuestMemory + 1; })),
            Code::kResourceExhausted);
  for (const uint64_t offset : {uint64_t{61}, uint64_t{64}, uint64_t{1} << 50}) {
    EXPECT_FALSE(
        GuestMemory::Create(changed([&](RegionLayout& l) { l.file_offset = offset * kPage; }),
                            BorrowedFd())
            .ok());
  }

  // Overlaps, in either space; neighbours are none.
  EXPECT_EQ(CodeOf({Region(0x10000, 4), Region(0x14000, 4)}), Code::kOk);
  for (const uint64_t guest : {0x10000u, 0x13000u, 0xd000u, 0x13fffu}) {
    EXPECT_EQ(CodeOf({Region(0x10000, 4), Region(guest, 4)}), Code::kAlreadyExists) << guest;
    GuestMemory::NewRegion user = Region(0x80000, 4);
    user.layout.user_address = kUser + guest;
    EXPECT_EQ(CodeOf({Region(0x10000, 4), user}), Code::kAlreadyExists) << guest;
  }
  EXPECT_EQ(CodeOf({Region(0x10000, 4), Region(0, 1), Region(0x11000, 1)}), Code::kAlreadyExists);
}

TEST_F(GuestMemoryTest, RegionsAreLimited) {
  std::vector<GuestMemory::NewRegion> regions;
  for (uint64_t i = 0; i < kMaxMemoryRegions; ++i) regions.push_back(Region(i * 2 * kPage, 1));
  const auto full = Table(regions);
  EXPECT_EQ(full->size(), kMaxMemoryRegions);
  EXPECT_EQ(full->With(Region(uint64_t{1} << 40, 1), BorrowedFd()).status().code(),
            absl::StatusCode::kResourceExhausted);
}

// Those that a table was made with are those of every table that is made of it.
TEST_F(GuestMemoryTest, LimitsStayWithTheTable) {
  const auto with = [](const RefPtr<const GuestMemory>& table, GuestMemory::NewRegion region) {
    return table->With(region, BorrowedFd());
  };
  const auto empty = GuestMemory::Create({}, BorrowedFd(), {.regions = 2, .bytes = 4 * kPage});
  ASSERT_TRUE(empty.ok()) << empty.status();
  const auto one = with(*empty, Region(0x10000, 2));
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ((*one)->bytes(), 2 * kPage);
  EXPECT_EQ(with(*one, Region(0x20000, 3)).status().code(), absl::StatusCode::kResourceExhausted);
  const auto two = with(*one, Region(0x20000, 2));
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ((*two)->bytes(), 4 * kPage);
  EXPECT_EQ(with(*two, Region(0x30000, 1)).status().code(), absl::StatusCode::kResourceExhausted);
  const auto less = (*two)->Without(Region(0x10000, 2).layout);
  ASSERT_TRUE(less.ok()) << less.status();
  EXPECT_TRUE(with(*less, Region(0x30000, 1)).ok());
}

TEST_F(GuestMemoryTest, ATableThatIsReplacedStaysAsItIs) {
  const auto one = Table({Region(0x10000, 1)});
  const auto two = one->With(Region(0x8000, 1, 8), BorrowedFd());
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_EQ(one->size(), 1u);
  EXPECT_EQ((*two)->size(), 2u);
  GuestMemory::Hint other;
  EXPECT_EQ(one->Piece(0x10000, 1, hint_).data(), (*two)->Piece(0x10000, 1, other).data())
      << "mapped once";

  auto without = (*two)->Without({.guest_address = 0x10000,
                                  .size = kPage,
                                  .user_address = kUser + 0x10000,
                                  .file_offset = 12345});
  ASSERT_TRUE(without.ok()) << "the offset is no part of the key";
  EXPECT_TRUE((*without)->Piece(0x10000, 1, hint_).empty());
  EXPECT_EQ((*without)->Piece(0x8000, 1, hint_).size(), 1u);
  EXPECT_EQ((*two)->size(), 2u);
}

TEST_F(GuestMemoryTest, OnlyTheVeryRegionIsRemoved) {
  const auto table = Table({Region(0x10000, 4)});
  const RegionLayout there = Region(0x10000, 4).layout;
  for (int i = 0; i < 3; ++i) {
    RegionLayout wrong = there;
    (i == 0 ? wrong.guest_address : i == 1 ? wrong.size : wrong.user_address) += kPage;
    EXPECT_EQ(table->Without(wrong).status().code(), absl::StatusCode::kNotFound);
  }
  EXPECT_TRUE(table->Without(there).ok());
}

TEST_F(GuestMemoryTest, UnmapsWithTheLastTable) {
  auto mappings = [] {
    std::string text(1 << 20, '\0');
    FILE* const maps = fopen("/proc/self/maps", "r");
    text.resize(fread(text.data(), 1, text.size(), maps));
    fclose(maps);
    size_t count = 0;
    for (size_t at = text.find("memfd:guest"); at != std::string::npos;
         at = text.find("memfd:guest", at + 1)) {
      ++count;
    }
    return count;
  };
  const size_t before = mappings();
  auto one = Table({Region(0x10000, 1)});
  auto two = *one->With(Region(0x20000, 1, 3), BorrowedFd());
  EXPECT_EQ(mappings(), before + 2);
  one = nullptr;
  EXPECT_EQ(mappings(), before + 2);
  auto three = *two->Without(Region(0x10000, 1).layout);
  two = nullptr;
  EXPECT_EQ(mappings(), before + 1);
  three = nullptr;
  EXPECT_EQ(mappings(), before);
}

TEST_F(GuestMemoryTest, BreaksWhenTheFileIsCut) {
  const auto table = Table({Region(0x10000, 1), Region(0x20000, 4, 60)});
  ASSERT_EQ(ftruncate(file_.get(), 61 * kPage), 0);
  std::array<std::byte, 8> copy;
  EXPECT_TRUE(table->CopyOut(0x10000, copy, hint_));
  EXPECT_FALSE(table->broken());
  EXPECT_TRUE(table->CopyOut(0x22000, copy, hint_));
  EXPECT_TRUE(table->broken());
}

}  // namespace
}  // namespace gofer::vhost
