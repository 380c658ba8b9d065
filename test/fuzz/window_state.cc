// Fuzzes a channel's window: a client that writes anything into it, states and lengths included, at
// any moment. A turn that is properly passed comes back or the channel ends; and the channel always
// ends when it is told to.
// Input: a script of steps, a kind and three operands each.

#include <time.h>

#include <atomic>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>

#include "glog/logging.h"
#include "gofer/sys/futex.h"
#include "gofer/sys/memory_map.h"
#include "lisafs/transport/call.h"
#include "lisafs/transport/channel.h"
#include "lisafs/wire/structs.h"

namespace {

constexpr uint32_t kClientTurn = 0;
constexpr uint32_t kServerTurn = 1;
constexpr size_t kMaxSteps = 64;
constexpr double kPatience_s = 60;

// Answers a request by its own private part.
class Echo final : public lisafs::CallHandler {
 public:
  void Handle(lisafs::Call& call) override {
    if (call.error().has_value()) return;
    CHECK_LE(call.payload.size() + call.bulk.size(), size_t{lisafs::kMaxMessageSize});
    call.body.WriteBytes(
        absl::string_view(reinterpret_cast<const char*>(call.payload.data()), call.payload.size()));
  }
};

double Now() {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

class HostileClient {
 public:
  // `ended` is set when the server serves no more; then nobody answers, whatever is written.
  HostileClient(std::span<std::byte> window, const std::atomic<bool>& ended)
      : window_(window), ended_(ended) {}

  void Step(uint8_t kind, uint8_t a, uint8_t b, uint8_t c) {
    const uint32_t value = a | b << 8 | c << 16;
    switch (kind % 6) {
      case 0:
        Store(16 + a % 64, b);
        break;
      case 1:
        Word(4).store(value, std::memory_order_relaxed);
        break;
      case 2:
        Word(4).store(c % 2 == 0 ? a : UINT32_MAX - a, std::memory_order_relaxed);
        break;
      case 3:
        Hello();
        PassTurn();
        break;
      case 4:
        PassTurn();
        break;
      default:
        Word(0).store(c % 4 == 3 ? value : c % 4, std::memory_order_relaxed);
        gofer::sys::FutexWake(Word(0), INT_MAX);
    }
  }

 private:
  std::atomic<uint32_t>& Word(size_t offset) {
    return *reinterpret_cast<std::atomic<uint32_t>*>(window_.data() + offset);
  }
  void Store(size_t offset, uint8_t byte) {
    reinterpret_cast<std::atomic<uint8_t>*>(window_.data() + offset)
        ->store(byte, std::memory_order_relaxed);
  }
  void Hello() {
    Store(16, '{');
    Store(17, '}');
    Store(18, '\n');
    Word(4).store(3, std::memory_order_relaxed);
  }
  // From a legal state the server has to take the turn, and give it back or end the channel.
  void PassTurn() {
    uint32_t expected = kClientTurn;
    if (!Word(0).compare_exchange_strong(expected, kServerTurn, std::memory_order_release)) return;
    gofer::sys::FutexWake(Word(0), 1);
    const double start = Now();
    while (Word(0).load(std::memory_order_acquire) == kServerTurn && !ended_) {
      CHECK_LT(Now() - start, kPatience_s) << "the turn does not come back";
      std::this_thread::yield();
    }
  }

  const std::span<std::byte> window_;
  const std::atomic<bool>& ended_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int memory = [] {
    auto made = gofer::sys::CreateSealedMemory("window", lisafs::kWindowSize);
    CHECK(made.ok());
    return made->Release();
  }();
  auto map = gofer::sys::MemoryMap::Shared(gofer::BorrowedFd(memory), 0, lisafs::kWindowSize);
  CHECK(map.ok());
  std::memset(map->bytes().data(), 0, 128);
  gofer::UniqueFd client_socket;
  auto channel = lisafs::Channel::Create(gofer::BorrowedFd(memory), 0, client_socket);
  CHECK(channel.ok());
  Echo handler;
  std::atomic<bool> ended{false};
  std::thread server([&] {
    (*channel)->Serve(handler);
    ended = true;
  });
  HostileClient client(map->bytes(), ended);
  for (size_t step = 0; step < kMaxSteps && size >= 4; ++step, data += 4, size -= 4) {
    client.Step(data[0], data[1], data[2], data[3]);
  }
  (*channel)->ShutDown();
  server.join();
  return 0;
}
