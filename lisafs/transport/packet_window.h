// PacketWindow: the server's side of one window of memory shared with a client, through which
//               requests and
// replies are handed back and forth by a state word.
//
// Everything in it can be changed by the client at any moment. The state and the length are read
// once each into locals; a datagram is copied out before it is judged.
//
// Owner:   a Channel; the memory is the Channel's mapping. Threads: one serves it; ShutDown is safe
//          from any.
// Errors:  a state that is none of the three, or a hand-over out of turn, breaks the window: its
//          channel ends.
// Source:  spec/lisafs.md s.2.5 to s.2.8; gVisor pkg/flipcall.

#ifndef LISAFS_TRANSPORT_PACKET_WINDOW_H_
#define LISAFS_TRANSPORT_PACKET_WINDOW_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "gofer/base/shared_bytes.h"
#include "gofer/sys/spin_policy.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

class PacketWindow {
 public:
  enum class Turn { kOurs, kShutDown, kBroken };

  // `memory` is the whole window, larger than a packet header.
  explicit PacketWindow(std::span<std::byte> memory);

  // Waits until it is the server's turn, or the window has ended.
  Turn Wait(gofer::sys::SpinPolicy& spin);
  // How many bytes the client says it wrote. To be called once per turn.
  uint32_t ReadDataLen() const { return data_len().load(std::memory_order_relaxed); }
  // Passes the turn to the client with a datagram of `size` bytes; false if the window has ended or
  // is broken.
  bool HandOver(uint32_t size);
  // Ends the window for both sides and wakes whoever sleeps on it. A hostile client that writes the
  // state back at the right moment can put our waiter to sleep again: to be repeated until it is
  // out.
  void ShutDown();

  // Where datagrams stand, headers included: to copy out of, and to write replies into.
  gofer::SharedBytes datagram() const { return gofer::SharedBytes(datagram_); }
  std::span<std::byte> writable() const { return datagram_; }

 private:
  std::atomic<uint32_t>& state() const;
  std::atomic<uint32_t>& data_len() const;

  std::atomic<bool> ended_{false};  // what the client cannot write
  std::byte* const header_;
  const std::span<std::byte> datagram_;
};

}  // namespace lisafs

#endif  // LISAFS_TRANSPORT_PACKET_WINDOW_H_
