// SlotArray: what a table of a FUSE session keeps its entries in, and the ids that lead there.
//
// An id is a slot, the shard of the table that the slot is in, and a sequence: which entry of that
// slot it is. So an id is found without a search, is never given out twice and is never zero. A
// slot whose sequence is used up is left alone for ever. A table that goes on where another one was
// saved begins with a sequence that is later than all of that one's.
//
// Slot is the table's own struct. It has
//   uint32_t sequence;        of the entry that is in it, or will be; 0: used up
//   uint32_t next;            the next free slot; while there is an entry, the table's
//   bool is_free() const;     also true of a slot of zeros
//
// Owner:   a shard of a table. Threads: one at a time; the shard's lock.
// Memory:  pages of slots that stay where they are.

#ifndef FUSE_SESSION_SLOT_ARRAY_H_
#define FUSE_SESSION_SLOT_ARRAY_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gofer::fuse {

inline constexpr uint32_t kTableShards = 16;
inline constexpr uint32_t kNoSlot = UINT32_MAX;

// ---- an id, of whatever enumeration, and its parts

template <typename Id>
constexpr Id IdOf(uint32_t shard, uint32_t index, uint32_t sequence) {
  return static_cast<Id>(uint64_t{sequence} << 32 | index * kTableShards | shard);
}
template <typename Id>
constexpr uint32_t ShardOf(Id id) {
  return static_cast<uint32_t>(id) % kTableShards;
}
template <typename Id>
constexpr uint32_t IndexOf(Id id) {
  return static_cast<uint32_t>(id) / kTableShards;
}
template <typename Id>
constexpr uint32_t SequenceOf(Id id) {
  return static_cast<uint32_t>(static_cast<uint64_t>(id) >> 32);
}
// Whether a table whose new ids begin with `next_sequence`, and whose shards had at most `slots`,
// can have given the id out. next_sequence 0: there will be no new ones.
template <typename Id>
constexpr bool IsPossible(Id id, uint32_t next_sequence, uint32_t slots) {
  const uint32_t sequence = SequenceOf(id);
  return sequence != 0 && (next_sequence == 0 || sequence < next_sequence) && IndexOf(id) < slots;
}

template <typename Slot, uint32_t kPageSlots>
class SlotArray {
 public:
  uint32_t size() const { return size_; }
  Slot& At(uint32_t index) const { return pages_[index / kPageSlots][index % kPageSlots]; }

  // Null unless that very entry is there.
  template <typename Id>
  Slot* Find(Id id) const {
    const uint32_t index = IndexOf(id);
    if (index >= size_) return nullptr;
    Slot& slot = At(index);
    return slot.is_free() || slot.sequence != SequenceOf(id) ? nullptr : &slot;
  }

  // A free slot for a new entry; kNoSlot when there can be no more.
  uint32_t Take() {
    if (free_ != kNoSlot) return std::exchange(free_, At(free_).next);
    if (size_ == UINT32_MAX / kTableShards || first_sequence_ == 0) return kNoSlot;
    Extend(size_);
    return size_ - 1;
  }
  // Its entry has gone: is_free() holds.
  void GiveBack(uint32_t index) {
    Slot& slot = At(index);
    if (++slot.sequence != 0) slot.next = std::exchange(free_, index);
  }

  template <typename F>
  void ForEachEntry(F&& f) const {
    for (uint32_t index = 0; index < size_; ++index) {
      if (Slot& slot = At(index); !slot.is_free()) f(index, slot);
    }
  }
  // All slots, for whoever releases what they hold. There are none left here.
  SlotArray TakeAll() {
    SlotArray all;
    all.pages_.swap(pages_);
    all.size_ = std::exchange(size_, 0);
    free_ = kNoSlot;
    return all;
  }

  // ---- saving and restoring

  // Later than the sequence of every entry that ever was; 0: there is none later.
  uint32_t next_sequence() const {
    if (first_sequence_ == 0) return 0;
    uint32_t next = first_sequence_;
    for (uint32_t index = 0; index < size_; ++index) {
      const Slot& slot = At(index);
      // That of a free slot has not been given out.
      const uint32_t unused = slot.sequence + (slot.is_free() ? 0 : 1);
      if (unused == 0) return 0;
      next = std::max(next, unused);
    }
    return next;
  }
  // Of new slots from here on.
  void StartAt(uint32_t sequence) { first_sequence_ = sequence; }
  // Makes slots up to that one. They are free, and not taken before OfferFree.
  void Extend(uint32_t index) {
    while (size_ <= index) {
      if (size_ % kPageSlots == 0) pages_.push_back(std::make_unique<Slot[]>(kPageSlots));
      Slot& slot = At(size_++);
      slot.sequence = first_sequence_;
      slot.next = kNoSlot;
    }
  }
  void OfferFree() {
    if (first_sequence_ == 0) return;
    for (uint32_t index = 0; index < size_; ++index) {
      if (Slot& slot = At(index); slot.is_free()) slot.next = std::exchange(free_, index);
    }
  }

 private:
  std::vector<std::unique_ptr<Slot[]>> pages_;
  uint32_t size_ = 0;
  uint32_t free_ = kNoSlot;
  uint32_t first_sequence_ = 1;  // of a slot that was never used
};

// Over all shards, each under its lock: what SlotArray::next_sequence is of one.
template <typename Shards, typename NextOf>
uint32_t NextSequenceOf(Shards& shards, NextOf next_of) {
  uint32_t next = 1;
  for (auto& shard : shards) {
    const uint32_t unused = next_of(shard);
    if (unused == 0) return 0;
    next = std::max(next, unused);
  }
  return next;
}

}  // namespace gofer::fuse

#endif  // FUSE_SESSION_SLOT_ARRAY_H_
