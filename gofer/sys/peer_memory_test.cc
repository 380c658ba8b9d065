#include "gofer/sys/peer_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "gofer/sys/event_fd.h"
#include "gofer/sys/poll.h"
#include "gtest/gtest.h"

namespace gofer::sys {
namespace {

constexpr size_t kPage = 4096;

UniqueFd MakeFile(size_t size) {
  UniqueFd file(memfd_create("peer", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_TRUE(file.valid());
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(size)), 0);
  return file;
}

int ErrorOfMap(BorrowedFd file, uint64_t offset, uint64_t size) {
  auto map = PeerMemory::Map(file, offset, size, BorrowedFd());
  return map.ok() ? 0 : map.error().value();
}

TEST(PeerMemory, IsTheFileFromTheOffsetOn) {
  const UniqueFd file = MakeFile(4 * kPage);
  ASSERT_EQ(pwrite(file.get(), "here", 4, kPage + 100), 4);
  auto map = PeerMemory::Map(file, kPage + 100, 2 * kPage, BorrowedFd());
  ASSERT_TRUE(map.ok());
  ASSERT_EQ(map->bytes().size(), 2 * kPage);
  EXPECT_EQ(std::memcmp(map->bytes().data(), "here", 4), 0);
  std::memcpy(map->bytes().data() + 2 * kPage - 3, "end", 3);
  char back[3];
  ASSERT_EQ(pread(file.get(), back, 3, 3 * kPage + 97), 3);
  EXPECT_EQ(std::memcmp(back, "end", 3), 0);
  EXPECT_FALSE(map->broken());
}

TEST(PeerMemory, RefusesWhatTheFileDoesNotHave) {
  const UniqueFd file = MakeFile(2 * kPage);
  EXPECT_EQ(ErrorOfMap(file, 0, 0), EINVAL);
  EXPECT_EQ(ErrorOfMap(file, 0, 2 * kPage), 0);
  EXPECT_EQ(ErrorOfMap(file, 0, 2 * kPage + 1), EFBIG);
  EXPECT_EQ(ErrorOfMap(file, 1, 2 * kPage), EFBIG);
  EXPECT_EQ(ErrorOfMap(file, 2 * kPage, 1), EFBIG);
  EXPECT_EQ(ErrorOfMap(file, UINT64_MAX, 1), EFBIG);
  EXPECT_EQ(ErrorOfMap(file, 1, UINT64_MAX), EFBIG);
  EXPECT_EQ(ErrorOfMap(file, kPage, UINT64_MAX - kPage + 1), EFBIG);
}

TEST(PeerMemory, RefusesWhatIsNotMemory) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
  const UniqueFd a(sockets[0]), b(sockets[1]);
  EXPECT_EQ(ErrorOfMap(a, 0, kPage), EINVAL);
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  const UniqueFd r(pipes[0]), w(pipes[1]);
  EXPECT_EQ(ErrorOfMap(r, 0, kPage), EINVAL);
  const UniqueFd dir(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  EXPECT_EQ(ErrorOfMap(dir, 0, kPage), EINVAL);
  auto event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  EXPECT_EQ(ErrorOfMap(event->fd(), 0, kPage), EINVAL);
  EXPECT_EQ(ErrorOfMap(BorrowedFd(-1), 0, kPage), EBADF);
}

TEST(PeerMemory, RefusesWhatMayNotBeWritten) {
  const UniqueFd file = MakeFile(kPage);
  ASSERT_EQ(fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE), 0);
  EXPECT_EQ(ErrorOfMap(file, 0, kPage), EPERM);
}

TEST(PeerMemory, ACutFileBreaksTheMappingAndNothingElse) {
  const UniqueFd file = MakeFile(4 * kPage);
  auto event = EventFd::Create();
  ASSERT_TRUE(event.ok());
  auto map = PeerMemory::Map(file, 0, 4 * kPage, event->fd());
  auto other = PeerMemory::Map(MakeFile(kPage), 0, kPage, BorrowedFd());
  ASSERT_TRUE(map.ok());
  ASSERT_TRUE(other.ok());
  std::memset(map->bytes().data(), 'x', 4 * kPage);
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  EXPECT_EQ(map->bytes()[0], std::byte{'x'});
  EXPECT_FALSE(map->broken());
  // Read, then write, in pages that are gone.
  auto* const gone = reinterpret_cast<volatile char*>(map->bytes().data() + 2 * kPage + 5);
  EXPECT_EQ(*gone, 0);
  EXPECT_TRUE(map->broken());
  *gone = 'y';
  EXPECT_EQ(*gone, 'y');
  *(gone - kPage) = 'z';
  EXPECT_EQ(*(gone - kPage), 'z');
  EXPECT_FALSE(other->broken());
  const BorrowedFd fds[] = {event->fd()};
  EXPECT_EQ(WaitReadable(fds, absl::ZeroDuration())->size(), 1u);
}

TEST(PeerMemory, ASystemCallThatMeetsTheCutGivesEfault) {
  const UniqueFd file = MakeFile(2 * kPage);
  const UniqueFd source = MakeFile(kPage);
  auto map = PeerMemory::Map(file, 0, 2 * kPage, BorrowedFd());
  ASSERT_TRUE(map.ok());
  ASSERT_EQ(ftruncate(file.get(), 0), 0);
  EXPECT_EQ(pread(source.get(), map->bytes().data(), 16, 0), -1);
  EXPECT_EQ(errno, EFAULT);
  EXPECT_EQ(pwrite(source.get(), map->bytes().data(), 16, 0), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST(PeerMemory, ManyThreadsMeetTheCutAtOnce) {
  constexpr size_t kPages = 64;
  for (int round = 0; round < 20; ++round) {
    const UniqueFd file = MakeFile(kPages * kPage);
    auto map = PeerMemory::Map(file, 0, kPages * kPage, BorrowedFd());
    ASSERT_TRUE(map.ok());
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int turn = 0; turn < 3; ++turn) {
          for (size_t page = 0; page < kPages; ++page) {
            reinterpret_cast<std::atomic<char>*>(map->bytes().data() + page * kPage)
                ->fetch_add(1, std::memory_order_relaxed);
          }
        }
      });
    }
    ASSERT_EQ(ftruncate(file.get(), kPage), 0);
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(PeerMemory, AnotherBusErrorIsNotOurs) {
  const UniqueFd file = MakeFile(kPage);
  const UniqueFd foreign = MakeFile(2 * kPage);
  auto map = PeerMemory::Map(file, 0, kPage, BorrowedFd());
  ASSERT_TRUE(map.ok());
  void* const at = mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, foreign.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  ASSERT_EQ(ftruncate(foreign.get(), 0), 0);
  EXPECT_DEATH(*static_cast<volatile char*>(at) = 1, "");
  munmap(at, 2 * kPage);
}

TEST(PeerMemory, EntriesOfTheHandlerAreGivenBack) {
  const UniqueFd file = MakeFile(kPage);
  for (int i = 0; i < 5000; ++i) ASSERT_EQ(ErrorOfMap(file, 0, kPage), 0) << i;
  std::vector<std::unique_ptr<PeerMemory>> maps;
  int error = 0;
  while (error == 0) {
    auto map = PeerMemory::Map(file, 0, kPage, BorrowedFd());
    if (map.ok()) {
      maps.push_back(std::make_unique<PeerMemory>(*std::move(map)));
    } else {
      error = map.error().value();
    }
  }
  EXPECT_EQ(error, ENOMEM);
  EXPECT_EQ(maps.size(), 4096u);
}

}  // namespace
}  // namespace gofer::sys
