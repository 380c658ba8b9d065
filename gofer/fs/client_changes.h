// ClientChanges: tells who has looked at something, and will answer with it later, whether a client
// has changed anything since.
//
//   const ClientChanges::Watch watch(changes);
//   const uint64_t before = changes.count();
//   ...look...
//   if (changes.count() == before) ...no change that a client knows to be done is missing...
//
// Owner:   the Filesystem. Threads: safe. While nobody watches, a change costs a fence and a read of
//          a line that nobody writes.

#ifndef GOFER_FS_CLIENT_CHANGES_H_
#define GOFER_FS_CLIENT_CHANGES_H_

#include <atomic>
#include <cstdint>

#include "gofer/base/full_fence.h"

namespace gofer::fs {

class ClientChanges {
 public:
  // From its beginning on changes are counted.
  class [[nodiscard]] Watch {
   public:
    explicit Watch(ClientChanges& changes) : changes_(changes) {
      changes_.watches_.fetch_add(1, std::memory_order_seq_cst);
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    ~Watch() { changes_.watches_.fetch_sub(1, std::memory_order_relaxed); }

   private:
    ClientChanges& changes_;
  };

  ClientChanges() = default;
  ClientChanges(const ClientChanges&) = delete;
  ClientChanges& operator=(const ClientChanges&) = delete;

  // After the host's change and before the client is told: who looked before the change finds the
  // count changed when the client asks next.
  void Note() {
    FullFence();
    if (watches_.load(std::memory_order_relaxed) != 0) {
      count_.fetch_add(1, std::memory_order_release);
    }
  }
  uint64_t count() const { return count_.load(std::memory_order_acquire); }

 private:
  std::atomic<uint32_t> watches_{0};
  alignas(64) std::atomic<uint64_t> count_{0};
};

}  // namespace gofer::fs

#endif  // GOFER_FS_CLIENT_CHANGES_H_
