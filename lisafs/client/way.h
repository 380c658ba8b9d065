// The ways in to a LISAFS server, seen from the client: the main socket and the channels. Each
// carries one request at a time.
//
// Owner:   Client owns its ways; a way owns its socket or window.
// Threads: one thread at a time may use a way, held by Acquire/Release; ShutDown is safe from any
//          thread.
// Errors:  ESHUTDOWN when the way has ended (the server closed it, died, or never spoke properly
//          again), EBADMSG for a reply that does not make sense. No LISAFS server sends either, so
//          they cannot be confused with an Error reply, which is a Reply like any other here.
// Source:  spec/lisafs.md s.2.

#ifndef LISAFS_CLIENT_WAY_H_
#define LISAFS_CLIENT_WAY_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/errno.h"
#include "gofer/base/unique_fd.h"
#include "gofer/sys/memory_map.h"
#include "gofer/sys/socket.h"
#include "lisafs/wire/requests.h"
#include "lisafs/wire/structs.h"

namespace lisafs {

// One request, and where its reply goes.
struct Exchange {
  MessageId id;
  size_t head_size = 0;  // bytes of the payload that stand in Way::request()
  std::span<const std::byte> data =
      {};              // the rest of the payload, sent from where it is: PWrite's bytes
  size_t max_fds = 0;  // descriptors that the reply may bring
  // If not empty: what a successful reply has after its first `reply_head` bytes goes here (PRead's
  // bytes).
  size_t reply_head = 0;
  std::span<std::byte> reply_data = {};
};

struct Reply {
  MessageId id;
  Payload
      payload;  // in the way's own memory until the next exchange; without what went to reply_data
  size_t data_size = 0;
  size_t num_fds = 0;
  std::array<gofer::UniqueFd, gofer::sys::kMaxDonatedFds> fds;
};

class Way {
 public:
  virtual ~Way() = default;
  Way(const Way&) = delete;
  Way& operator=(const Way&) = delete;

  // Where a request's payload is written before the exchange.
  virtual std::span<std::byte> request() = 0;
  virtual gofer::ErrnoOr<Reply> RoundTrip(const Exchange& exchange) = 0;
  // Ends the way; an exchange under way ends with ESHUTDOWN.
  virtual void ShutDown() = 0;
  // Whether an exchange can still succeed.
  virtual bool alive() const = 0;

  // Holds the way for one exchange. Which way it is, is known only when running: no analysis.
  bool TryAcquire() ABSL_NO_THREAD_SAFETY_ANALYSIS { return mu_.TryLock(); }
  void Acquire() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.Lock(); }
  void Release() ABSL_NO_THREAD_SAFETY_ANALYSIS { mu_.Unlock(); }

 protected:
  Way() = default;

 private:
  absl::Mutex mu_;
};

// Frames of an 8-byte header and a payload over a stream socket.
class SocketWay final : public Way {
 public:
  explicit SocketWay(gofer::UniqueFd socket);

  std::span<std::byte> request() override;
  gofer::ErrnoOr<Reply> RoundTrip(const Exchange& exchange) override;
  void ShutDown() override;
  bool alive() const override { return true; }  // nobody else can be asked when it is not

  // ---- for tests that break the rules

  gofer::BorrowedFd fd() const { return socket_; }
  // Sends bytes as they are, framed or not.
  gofer::ErrnoOr<void> SendBytes(std::span<const std::byte> bytes);
  // Reads one frame, for requests that SendBytes sent.
  gofer::ErrnoOr<Reply> ReceiveReply(const Exchange& exchange);

 private:
  gofer::ErrnoOr<void> ReceiveAll(std::span<std::byte> to);

  const gofer::UniqueFd socket_;
  // One buffer for the request (behind room for its header) and the reply: never needed at the same
  // time.
  gofer::sys::MemoryMap buffer_;
};

// What a Channel request brings.
struct ChannelGrant {
  ChannelResp place;
  gofer::UniqueFd memory;
  gofer::UniqueFd fd_socket;
};

// A window of memory shared with the server: a request is written into it and handed over by a
// state word on which both sides sleep.
class ChannelWay final : public Way {
 public:
  // Maps the window; Handshake must follow before the first exchange.
  static gofer::ErrnoOr<std::unique_ptr<ChannelWay>> Map(ChannelGrant grant);
  gofer::ErrnoOr<void> Handshake();

  std::span<std::byte> request() override;
  gofer::ErrnoOr<Reply> RoundTrip(const Exchange& exchange) override;
  void ShutDown() override;
  bool alive() const override;

  // ---- for tests that break the rules

  // The whole window: 16 bytes packet header, 4 bytes channel header, payload.
  std::span<std::byte> window() const { return map_.bytes(); }
  std::atomic<uint32_t>& state() const;
  std::atomic<uint32_t>& data_len() const;
  gofer::BorrowedFd fd_socket() const { return fd_socket_; }
  // Passes the turn to the server and sleeps until it comes back. What stands in the window goes as
  // it is.
  gofer::ErrnoOr<void> PassTurn();

 private:
  ChannelWay(gofer::sys::MemoryMap map, gofer::UniqueFd fd_socket);

  const gofer::sys::MemoryMap map_;
  const gofer::UniqueFd fd_socket_;
};

}  // namespace lisafs

#endif  // LISAFS_CLIENT_WAY_H_
