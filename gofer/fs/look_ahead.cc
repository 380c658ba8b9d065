#include "gofer/fs/look_ahead.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "gofer/base/name.h"
#include "gofer/fs/filesystem.h"

namespace gofer::fs {
namespace {

// Names that nobody is at for which waking a helper is worth it.
constexpr uint64_t kWorthHelp = 48;

bool IsDots(absl::string_view name) { return name == "." || name == ".."; }

}  // namespace

LookAhead::LookAhead(Filesystem& filesystem, RefPtr<Dentry> dir, uint64_t max_age_ns)
    : filesystem_(filesystem),
      dir_(std::move(dir)),
      changes_(filesystem.client_changes()),
      watch_(changes_),
      clock_(sys::TickClock::Get()),
      max_age_ns_(max_age_ns) {}

void LookAhead::Restart() {
  Drop();
  absl::MutexLock lock(&mu_);
  in_vain_ = false;
}

void LookAhead::Drop() {
  std::vector<RefPtr<Dentry>> dropped;  // after the lock
  absl::MutexLock lock(&mu_);
  for (; taken_ < offered_; ++taken_) {
    Slot& slot = At(taken_);
    if (slot.state == State::kBusy) continue;  // is dropped by who is at it
    slot.state = State::kFree;
    if (slot.entry.dentry) dropped.push_back(std::move(slot.entry.dentry));
  }
  claimed_ = offered_;
  left_ = 0;
}

void LookAhead::Offer(const DirCursor& cursor, Helpers* helpers) {
  const DirCursor::Place next = cursor.place();
  if (place_.fill != next.fill) {
    // Usually nothing is left; but a listing of names only may have gone on meanwhile.
    Drop();
    place_ = next;
  }
  if (left_ > kWindow / 2) return;
  {
    absl::MutexLock lock(&mu_);
    if (in_vain_) return;
    if (left_ == 0) place_ = next;
    // A slot may still be busy from when the window was there last.
    while (left_ < kWindow && At(offered_).state != State::kBusy) {
      const struct dirent64* const record = cursor.Kept(place_);
      if (record == nullptr) break;
      if (IsDots(record->d_name)) continue;
      Slot& slot = At(offered_++);
      ++left_;
      slot.state = State::kOffered;
      slot.cookie = static_cast<uint64_t>(record->d_off);
      slot.name = record->d_name;
    }
    if (helpers == nullptr || is_helped_ || offered_ - NextLocked() < kWorthHelp) return;
    is_helped_ = true;
  }
  helpers->Ask(RefPtr<LookAhead>(this));
}

std::optional<Entry> LookAhead::Take(uint64_t cookie) {
  for (;;) {
    Entry found;  // if it is not wanted, dropped after the lock
    {
      absl::MutexLock lock(&mu_);
      if (left_ == 0) return std::nullopt;
      Slot& slot = At(taken_);
      if (slot.cookie != cookie) break;
      const bool busy = slot.state == State::kBusy;
      if (!busy || in_vain_ || NextLocked() == offered_) {
        ++taken_;
        --left_;
        if (busy) return std::nullopt;  // who is at it drops it
        slot.state = State::kFree;
        found = std::move(slot.entry);
        if (!found.dentry) return std::nullopt;
        if (!IsStale(slot)) return found;
        in_vain_ = true;
        return std::nullopt;
      }
    }
    Work(kAtOnce);
  }
  // A listing of names only has gone on meanwhile.
  Drop();
  return std::nullopt;
}

size_t LookAhead::Work(size_t most) {
  uint64_t first;
  uint64_t end;
  {
    absl::MutexLock lock(&mu_);
    if (in_vain_) return 0;
    first = NextLocked();
    end = std::min<uint64_t>(offered_, first + std::min(most, kAtOnce));
    for (uint64_t number = first; number < end; ++number) At(number).state = State::kBusy;
    claimed_ = end;
  }
  for (uint64_t number = first; number < end; ++number) {
    Slot& slot = At(number);
    slot.changes = changes_.count();
    slot.begun = clock_.Now();
    if (const ErrnoOr<Name> name = Name::Parse(slot.name); name.ok()) {
      if (ErrnoOr<Entry> found = filesystem_.LookupUnopened(*dir_, *name); found.ok()) {
        slot.entry = *std::move(found);
      }
    }
  }
  std::array<RefPtr<Dentry>, kAtOnce> dropped;  // after the lock
  absl::MutexLock lock(&mu_);
  for (uint64_t number = first; number < end; ++number) {
    Slot& slot = At(number);
    slot.state = number < taken_ ? State::kFree : State::kDone;
    // The reader did not wait for it.
    if (number < taken_) dropped[number - first] = std::move(slot.entry.dentry);
  }
  return static_cast<size_t>(end - first);
}

void LookAhead::Helped() {
  absl::MutexLock lock(&mu_);
  is_helped_ = false;
}

}  // namespace gofer::fs
