#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "store/format.h"
#include "store/index.h"

namespace nabu::store {

struct WriterEpoch {
  uint64_t generation = 0;
  uint64_t incarnation = 0;
  auto operator<=>(const WriterEpoch&) const = default;
};

struct SequenceRange {
  uint64_t from = 0;
  uint64_t to = UINT64_MAX;  // inclusive
};

/** An owner tombstone. Without an epoch and over all sequences it covers everything of the owner.
 */
struct OwnerRule {
  uint64_t stamp = 0;
  std::optional<uint64_t> generation;
  std::optional<uint64_t> incarnation;
  SequenceRange range;
  std::vector<SequenceRange> pins;
  uint64_t block = 0;  // of its record on the device
  bool swept = false;  // nothing in the index is covered any more
  uint64_t lap = 0;    // the sweep that began after it was added

  bool whole() const {
    return !generation && !incarnation && range.from == 0 && range.to == UINT64_MAX;
  }
  bool covers(const WriterEpoch& epoch, uint64_t sequence, bool log, uint64_t stampOfRecord) const;
  bool sameEpochs(const OwnerRule& other) const {
    return generation == other.generation && incarnation == other.incarnation;
  }
};

struct OwnerState {
  WriterEpoch fence;
  uint64_t homeSetVersion = 0;
  uint64_t noteVersion = 0;
  std::vector<uint8_t> note;
};

/** From the bodies of records (OwnerStateBody, OwnerRangeBody); the rule's stamp is elsewhere. */
std::optional<OwnerState> parseOwnerState(const uint8_t* body, uint32_t length);
std::optional<OwnerRule> parseOwnerRule(const uint8_t* body, uint32_t length);
/** Into room for OwnerRangeBody and kMaxPins pins; returns the length. */
uint32_t encodeOwnerRule(const OwnerRule& rule, uint8_t* body);

struct Owner {
  Id16 id{};
  bool hasState = false;  // something durable
  OwnerState state;       // what is durable
  uint64_t stateBlock = 0;
  uint64_t stateSequence = 0;  // of its record
  OwnerState next;  // durable state merged with updates in flight; its fence is in force already
  std::vector<OwnerRule> rules;
  uint32_t unswept = 0;
  std::map<WriterEpoch, uint32_t> slots;
  std::map<WriterEpoch, uint32_t> appending;  // log appends in flight

  bool covered(const WriterEpoch& epoch, uint64_t sequence, bool log, uint64_t stamp) const {
    for (const OwnerRule& rule : rules) {
      if (rule.covers(epoch, sequence, log, stamp)) return true;
    }
    return false;
  }
  /** A log append of an epoch lower than this is in flight. */
  bool appendingBelow(const WriterEpoch& fence) const {
    return !appending.empty() && appending.begin()->first < fence;
  }
};

inline constexpr size_t kMaxRulesPerOwner = 16384;

/** Fences, notes, owner tombstones, and the small numbers by which index entries name (owner,
 * writer epoch). */
class OwnerTable {
 public:
  Owner* find(const uint8_t* id);
  Owner& get(const uint8_t* id);
  const std::map<Id16, std::unique_ptr<Owner>>& all() const { return owners_; }
  std::map<Id16, std::unique_ptr<Owner>>& all() { return owners_; }

  uint32_t slotFor(Owner& owner, const WriterEpoch& epoch);
  void addReference(uint32_t slot) {
    if (slot != 0) ++slots_[slot].references;
  }
  void dropReference(uint32_t slot);
  /** While held, a slot without references keeps its meaning: a checkpoint may have written its
   * number. */
  void holdSlots(bool hold);

  struct Slot {
    Owner* owner = nullptr;
    WriterEpoch epoch;
    uint64_t references = 0;
  };
  const std::vector<Slot>& slots() const { return slots_; }
  /** When a checkpoint is loaded. */
  void restoreSlot(uint32_t slot, const uint8_t* id, const WriterEpoch& epoch);

  /** An owner tombstone that was not swept yet covers the entry. */
  bool covered(const IndexEntry& entry) const {
    if (entry.epochSlot == 0) return false;
    const Slot& slot = slots_[entry.epochSlot];
    if (slot.owner->unswept == 0) return false;
    return slot.owner->covered(slot.epoch, entry.sequence(), (entry.flags & kEntryLog) != 0,
                               entry.stamp);
  }
  void forgetIfEmpty(Owner& owner);
  size_t withState() const;

 private:
  void release(uint32_t slot);

  std::map<Id16, std::unique_ptr<Owner>> owners_;
  std::vector<Slot> slots_{1};
  std::vector<uint32_t> free_;
  std::vector<uint32_t> deferred_;
  bool held_ = false;
};

}  // namespace nabu::store
