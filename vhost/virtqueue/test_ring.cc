#include "vhost/virtqueue/test_ring.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "glog/logging.h"

namespace gofer::vhost {
namespace {

// Where the regions are in the file: not in the guest's order.
struct Place {
  uint64_t address;
  uint64_t size;
  uint64_t offset;
};
constexpr uint64_t kStep = TestGuest::kRegionSize + TestGuest::kPage;
constexpr Place kPlaces[] = {
    {TestGuest::kLow, TestGuest::kRegionSize, 2 * kStep + TestGuest::kPage},
    {TestGuest::kNext, TestGuest::kRegionSize, TestGuest::kPage},
    {TestGuest::kFar, TestGuest::kRegionSize, kStep + TestGuest::kPage},
    {TestGuest::kHuge, TestGuest::kHugeSize, 3 * kStep + TestGuest::kPage},
};
constexpr uint64_t kFileSize = 3 * kStep + TestGuest::kHugeSize + 2 * TestGuest::kPage;
constexpr std::byte kCanary{0xc5};

const Place& PlaceOf(uint64_t address) {
  for (const Place& place : kPlaces) {
    if (address - place.address < place.size) return place;
  }
  LOG(FATAL) << "no memory at " << address;
  return kPlaces[0];
}

}  // namespace

TestGuest::TestGuest() : file_(memfd_create("guest", MFD_CLOEXEC)) {
  PCHECK(ftruncate(file_.get(), static_cast<off_t>(kFileSize)) == 0);
  void* const at =
      mmap(nullptr, kFileSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_.get(), 0);
  PCHECK(at != MAP_FAILED);
  base_ = static_cast<std::byte*>(at);
  for (const Place& place : kPlaces) {
    std::memset(base_ + place.offset - kPage, static_cast<int>(kCanary), kPage);
    std::memset(base_ + place.offset + place.size, static_cast<int>(kCanary), kPage);
  }
}

TestGuest::~TestGuest() { munmap(base_, kFileSize); }

GuestMemory::NewRegion TestGuest::Region(uint64_t address) const {
  const Place& place = PlaceOf(address);
  return {.layout = {.guest_address = place.address,
                     .size = place.size,
                     .user_address = User(place.address),
                     .file_offset = place.offset},
          .file = file_};
}

RefPtr<const GuestMemory> TestGuest::Memory(const std::vector<uint64_t>& addresses) const {
  std::vector<GuestMemory::NewRegion> regions;
  for (const uint64_t address : addresses) regions.push_back(Region(address));
  auto memory = GuestMemory::Create(regions, BorrowedFd());
  CHECK(memory.ok()) << memory.status();
  return *std::move(memory);
}

std::byte* TestGuest::At(uint64_t address) const {
  const Place& place = PlaceOf(address);
  return base_ + place.offset + (address - place.address);
}

bool TestGuest::CanariesLive() const {
  const auto lives = [this](uint64_t offset) {
    return std::all_of(base_ + offset, base_ + offset + kPage,
                       [](std::byte byte) { return byte == kCanary; });
  };
  return std::all_of(std::begin(kPlaces), std::end(kPlaces), [&](const Place& place) {
    return lives(place.offset - kPage) && lives(place.offset + place.size);
  });
}

TestRing::TestRing(const TestGuest& guest, uint32_t size, uint64_t at, bool event_idx)
    : guest_(guest),
      size_(size),
      event_idx_(event_idx),
      descriptors_(at),
      available_(at + DescriptorTableSize(size)),
      // The next multiple of four.
      used_((available_ + AvailableSize(size) + 3) & ~uint64_t{3}) {}

RingConfig TestRing::config() const {
  return {.size = size_,
          .addresses = {.descriptors = TestGuest::User(descriptors_),
                        .used = TestGuest::User(used_),
                        .available = TestGuest::User(available_)},
          .event_idx = event_idx_};
}

void TestRing::Set(uint16_t index, const Descriptor& descriptor) const {
  std::memcpy(guest_.At(descriptors_ + sizeof(Descriptor) * index), &descriptor,
              sizeof(descriptor));
}

uint16_t TestRing::Chain(uint16_t first, std::span<const Descriptor> descriptors) const {
  for (size_t i = 0; i < descriptors.size(); ++i) {
    Descriptor descriptor = descriptors[i];
    if (i + 1 < descriptors.size()) descriptor.flags |= kDescriptorNext;
    descriptor.next = static_cast<uint16_t>(first + i + 1);
    Set(static_cast<uint16_t>(first + i), descriptor);
  }
  return first;
}

void TestRing::Offer(uint16_t head) {
  const uint16_t index = AvailableIndex().load(std::memory_order_relaxed);
  Field(available_ + kEntriesOffset + sizeof(uint16_t) * (index & (size_ - 1)))
      .store(head, std::memory_order_relaxed);
  AvailableIndex().store(static_cast<uint16_t>(index + 1), std::memory_order_release);
}

UsedElement TestRing::Used(uint16_t index) const {
  UsedElement element;
  std::memcpy(&element,
              guest_.At(used_ + kEntriesOffset + sizeof(UsedElement) * (index & (size_ - 1))),
              sizeof(element));
  return element;
}

}  // namespace gofer::vhost
