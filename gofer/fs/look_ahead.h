// LookAhead: the next entries of one open directory, looked up before the client asks for them.
//
// A client that lists a directory with its attributes takes a few entries at a time and is busy with
// them in between, and when it takes many, that is work for more than one thread. So the reader of a
// listing offers the names that come next, and whoever has time looks them up: the reader's own
// thread while the client is away, or a helper beside it.
//
//   reader, in Filesystem::ReadDirFrom:   ahead.Offer(cursor); ... ahead.Take(cookie)
//   anyone else, at any time:             while (ahead.Work(n) > 0) {}
//
// The client cannot tell: what was found is given out only if no request has changed anything since
// before it was looked up (ClientChanges). What others have changed meanwhile, on the host or by
// another way in, may be missing, as it may be for as long as the client was told to rely on an
// entry; with kMaxAgeNs that is a hundredth of a second more. Nobody looks ahead for clients that are
// told to rely on nothing. Once something was found in vain, the rest of the listing is not looked
// up ahead either.
//
// A lookup that hangs keeps nobody waiting: the reader looks that entry up itself.
//
// Owner:   RefPtr: a Handle, for as long as its DirCursor has a buffer, which bounds their number; and
//          whoever works on it. Holds up to kWindow Dentries.
// Threads: Offer, Take and Restart are the reader's, of whom there is one at a time
//          (Handle::position_mu_); Work is anybody's.
// Locks:   mu_ is a leaf: nothing is looked up, and no Dentry released, with it held.

#ifndef GOFER_FS_LOOK_AHEAD_H_
#define GOFER_FS_LOOK_AHEAD_H_

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "gofer/base/ref_ptr.h"
#include "gofer/fs/client_changes.h"
#include "gofer/fs/dir_cursor.h"
#include "gofer/fs/entry.h"
#include "gofer/sys/tick_clock.h"

namespace gofer::fs {

class Filesystem;

class LookAhead : public RefCounted<LookAhead> {
 public:
  // Names offered and not read yet. Less than this in a whole directory is not worth the memory,
  // some 40 KiB.
  static constexpr size_t kWindow = 128;
  // The most that Work does at once.
  static constexpr size_t kAtOnce = 8;
  static constexpr uint64_t kMaxAgeNs = 10'000'000;

  // Somebody who may help.
  class Helpers {
   public:
    // Has `ahead` worked on by another thread until nothing is left, if one is free, and then calls
    // its Helped. Does not wait.
    virtual void Ask(RefPtr<LookAhead> ahead) = 0;

   protected:
    ~Helpers() = default;
  };

  // What was found longer ago than `max_age_ns` is not given out.
  LookAhead(Filesystem& filesystem, RefPtr<Dentry> dir, uint64_t max_age_ns = kMaxAgeNs);

  // ---- the reader

  // Another listing begins, or this one goes on elsewhere.
  void Restart() ABSL_LOCKS_EXCLUDED(mu_);
  // Offers what `cursor` keeps, from the record on that it is at, but "." and "..", once half of
  // the window has been taken. Asks for help, where there is some, if there is work enough.
  void Offer(const DirCursor& cursor, Helpers* helpers) ABSL_LOCKS_EXCLUDED(mu_);
  // What was found under the next name, whose record has this `cookie`. Nothing: it is for the
  // reader to look up. While another thread is at it, the reader does what else there is to do.
  std::optional<Entry> Take(uint64_t cookie) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- anyone

  // Looks up to `most` names up, at most kAtOnce, and returns how many.
  size_t Work(size_t most) ABSL_LOCKS_EXCLUDED(mu_);
  // The helper that was asked for has come to an end.
  void Helped() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class RefCounted<LookAhead>;
  ~LookAhead() = default;

  enum class State : uint8_t {
    kFree,     // of no name
    kOffered,  // nobody's yet
    kBusy,     // somebody is looking it up, and has `entry` for himself
    kDone,     // found, or not: then `entry` has no Dentry
  };
  struct Slot {
    State state = State::kFree;
    uint64_t cookie = 0;  // of its record
    std::string name;
    Entry entry = {};
    uint64_t changes = 0;  // that had been counted before it was looked up
    uint64_t begun = 0;    // when, by clock_
  };

  // Offered records are numbered; a slot is that of every kWindow-th.
  Slot& At(uint64_t number) { return slots_[number % kWindow]; }
  // Forgets what was offered and not taken.
  void Drop() ABSL_LOCKS_EXCLUDED(mu_);
  // The first that nobody is at, and nobody was; at most offered_.
  uint64_t NextLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return std::max(claimed_, taken_);
  }
  bool IsStale(const Slot& slot) const {
    return changes_.count() != slot.changes || clock_.NsSince(slot.begun) > max_age_ns_;
  }

  Filesystem& filesystem_;
  const RefPtr<Dentry> dir_;
  ClientChanges& changes_;
  const ClientChanges::Watch watch_;
  const sys::TickClock clock_;
  const uint64_t max_age_ns_;
  // The reader's: the place behind what was offered, and how much of that is left to take.
  DirCursor::Place place_;
  size_t left_ = 0;

  absl::Mutex mu_;
  // Numbers of what the reader takes next, of what Work claims next, if that is not before it, and
  // of what is offered next.
  uint64_t taken_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t claimed_ ABSL_GUARDED_BY(mu_) = 0;
  uint64_t offered_ ABSL_GUARDED_BY(mu_) = 0;
  bool in_vain_ ABSL_GUARDED_BY(mu_) = false;
  bool is_helped_ ABSL_GUARDED_BY(mu_) = false;
  // Each guarded by mu_, or when it is kBusy by being so.
  std::array<Slot, kWindow> slots_;
};

}  // namespace gofer::fs

#endif  // GOFER_FS_LOOK_AHEAD_H_
