// FStat, Walk, WalkStat, PRead and PWrite allocate nothing per request, in the server nor in the
// client library that drives it: every malloc of the process is counted, after a warm-up, over a
// channel and over the socket.

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lisafs/client/client.h"
#include "test/support/session.h"
#include "test/support/temp_tree.h"
#include "test/support/test_server.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_ALLOCATIONS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_ALLOCATIONS 0
#endif
#endif
#ifndef COUNTS_ALLOCATIONS
#define COUNTS_ALLOCATIONS 1
#endif

namespace {

std::atomic<size_t> g_allocations{0};

}  // namespace

#if COUNTS_ALLOCATIONS
// The C library's own, under the names by which it lets itself be replaced. operator new ends here
// too.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, size_t alignment, size_t size) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? ENOMEM : 0;
}
}
#endif

namespace lisafs {
namespace {

using gofer::testing::Must;
using gofer::testing::OverEachWay;
using gofer::testing::Session;
using gofer::testing::TempTree;
using gofer::testing::TestServer;

constexpr int kWarmUp = 600;
constexpr int kRounds = 2000;

class Allocation : public OverEachWay {
 protected:
  Allocation() : server_(tree_), session_(server_, GetParam()) {
    session_.Mkdir("a");
    session_.Mkdir("a/b");
    session_.Mkdir("a/b/c");
    file_ = session_.Create("a/b/c/f", std::string(65536, 'x')).control_fd;
    open_ = session_.Open(file_, 2);
  }

  void SetUp() override {
    if (!COUNTS_ALLOCATIONS) GTEST_SKIP() << "a sanitizer has replaced malloc";
    g_allocations = 0;
    free(std::malloc(1));
    ASSERT_GT(g_allocations.load(), 0u) << "the counter must count";
  }

  void ExpectNone(const char* what, const std::function<void()>& request) {
    for (int i = 0; i < kWarmUp; ++i) request();
    const size_t before = g_allocations.load();
    for (int i = 0; i < kRounds; ++i) request();
    EXPECT_EQ(g_allocations.load() - before, 0u) << what << ", in " << kRounds << " requests";
  }

  TempTree tree_;
  TestServer server_;
  Session session_;
  FdId file_, open_;
};
INSTANTIATE_OVER_EACH_WAY(Allocation);

TEST_P(Allocation, NoneInTheHotRequests) {
  Calls& calls = session_.calls();
  const FdId root = session_.root();
  std::vector<std::byte> buffer(65536);
  const absl::string_view names[] = {"a", "b", "c", "f"};
  Inode inodes[4];
  Statx stats[4];
  ExpectNone("FStat of a ControlFd", [&] { Must(calls.FStat(file_)); });
  ExpectNone("FStat of an OpenFd", [&] { Must(calls.FStat(open_)); });
  ExpectNone("Walk of one known name, and Close", [&] {
    Must(calls.Walk(root, Names(names).first(1), inodes));
    const FdId walked[] = {inodes[0].control_fd};
    Must(calls.Close(walked));
  });
  ExpectNone("Walk of four known names, and Close", [&] {
    Must(calls.Walk(root, names, inodes));
    const FdId walked[] = {inodes[0].control_fd, inodes[1].control_fd, inodes[2].control_fd,
                           inodes[3].control_fd};
    Must(calls.Close(walked));
  });
  ExpectNone("WalkStat", [&] { Must(calls.WalkStat(root, names, stats)); });
  const std::span<std::byte> small = std::span(buffer).first(4096);
  ExpectNone("PRead of 4 KiB", [&] { Must(calls.PRead(open_, small, 0)); });
  ExpectNone("PWrite of 4 KiB", [&] { Must(calls.PWrite(open_, small, 0)); });
  ExpectNone("PRead of 64 KiB", [&] { Must(calls.PRead(open_, buffer, 0)); });
  ExpectNone("PWrite of 64 KiB", [&] { Must(calls.PWrite(open_, buffer, 0)); });
}

}  // namespace
}  // namespace lisafs
