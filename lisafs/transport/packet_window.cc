#include "lisafs/transport/packet_window.h"

#include <climits>

#include "gofer/sys/futex.h"

namespace lisafs {
namespace {

constexpr uint32_t kClientTurn = 0;
constexpr uint32_t kServerTurn = 1;
constexpr uint32_t kShutDown = 2;

static_assert(std::atomic<uint32_t>::is_always_lock_free);

}  // namespace

PacketWindow::PacketWindow(std::span<std::byte> memory)
    : header_(memory.data()), datagram_(memory.subspan(sizeof(PacketHeader))) {}

std::atomic<uint32_t>& PacketWindow::state() const {
  return *reinterpret_cast<std::atomic<uint32_t>*>(header_ +
                                                   offsetof(PacketHeader, connection_state));
}

std::atomic<uint32_t>& PacketWindow::data_len() const {
  return *reinterpret_cast<std::atomic<uint32_t>*>(header_ + offsetof(PacketHeader, data_len));
}

PacketWindow::Turn PacketWindow::Wait(gofer::sys::SpinPolicy& spin) {
  bool slept = false;
  for (;;) {
    if (ended_.load(std::memory_order_acquire)) return Turn::kShutDown;
    const uint32_t now = state().load(std::memory_order_acquire);
    if (now != kClientTurn) {
      if (slept) spin.Slept();
      if (now == kServerTurn) return Turn::kOurs;
      return now == kShutDown ? Turn::kShutDown : Turn::kBroken;
    }
    const auto arrived = [this] { return state().load(std::memory_order_acquire) != kClientTurn; };
    if (!slept && spin.Poll(arrived)) continue;
    slept = true;
    gofer::sys::FutexWait(state(), kClientTurn);
  }
}

bool PacketWindow::HandOver(uint32_t size) {
  data_len().store(size, std::memory_order_relaxed);
  uint32_t expected = kServerTurn;
  if (!state().compare_exchange_strong(expected, kClientTurn, std::memory_order_release,
                                       std::memory_order_relaxed)) {
    return false;
  }
  gofer::sys::FutexWake(state(), 1);
  return true;
}

void PacketWindow::ShutDown() {
  ended_.store(true, std::memory_order_release);
  // Whoever sleeps does so on the other's turn; a value that the client has made up changes
  // nothing.
  state().exchange(kShutDown, std::memory_order_acq_rel);
  gofer::sys::FutexWake(state(), INT_MAX);
}

}  // namespace lisafs
