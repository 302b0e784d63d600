#include <algorithm>

#include "store/store.h"

// The index, its accounts, and what hangs on them.

namespace nabu::store {
namespace {

constexpr uint64_t kSweepPerPoll = 2048;

/** In a checkpoint. */
uint64_t ruleBytes(const OwnerRule& rule) {
  return 96 + sizeof(OwnerRangeBody) + rule.pins.size() * 16;
}

uint64_t recordBytes(const IndexEntry& entry) {
  return static_cast<uint64_t>(entry.recordBlocks()) * kBlockBytes;
}

}  // namespace

IndexEntry* Store::findShard(const Fingerprint& print, const uint8_t* stripeId,
                             uint8_t shardIndex) {
  for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
    if (at->kind() == kShard && at->shardIndex() == shardIndex &&
        std::memcmp(at->stripeId, stripeId, 16) == 0 && !owners_.covered(*at)) {
      return at;
    }
  }
  return nullptr;
}

/** 0: there is none. */
uint64_t Store::tombstoneStamp(const Fingerprint& print) {
  for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
    if (at->kind() == kTombstone) return at->stamp;
  }
  return 0;
}

bool Store::buried(const Fingerprint& print, uint64_t stamp) {
  const uint64_t tombstone = tombstoneStamp(print);
  return tombstone != 0 && tombstone >= stamp;
}

void Store::addEntry(const IndexEntry& entry) {
  index_.insert(entry);
  segments_.addLive(entry.block(), recordBytes(entry));
  owners_.addReference(entry.epochSlot);
  ++(entry.kind() == kShard ? shards_ : tombstones_);
}

void Store::dropEntry(IndexEntry* entry) {
  const IndexEntry gone = *entry;
  index_.erase(entry);
  segments_.dropLive(gone.block(), recordBytes(gone));
  --(gone.kind() == kShard ? shards_ : tombstones_);
  if ((gone.flags & kEntryDegraded) != 0) {
    StripeName name{gone.hash, gone.tag, {}};
    std::copy_n(gone.stripeId, 16, name.stripeId.begin());
    dropMark(name);
  }
  owners_.dropReference(gone.epochSlot);
}

void Store::putShard(const FooterEntry& footer, uint64_t block, const uint8_t* key) {
  IndexEntry entry{};
  entry.hash = footer.hash;
  entry.tag = footer.tag;
  std::memcpy(entry.stripeId, footer.stripeId, 16);
  entry.stamp = footer.stamp;
  entry.setBlock(block);
  entry.flags = kShard;
  if ((footer.flags & kFlagLog) != 0) entry.flags |= kEntryLog;
  if (footer.damaged != 0) entry.flags |= kEntryCorrupt;
  entry.setShape(footer.k, footer.m, footer.shardIndex);
  entry.blobLength = footer.blobLength;
  entry.shardBlocks = static_cast<uint16_t>(footer.shardLength / kBlockBytes);
  if (!allZero(footer.owner, 16)) {
    Owner& owner = owners_.get(footer.owner);
    entry.epochSlot = owners_.slotFor(owner, {footer.writerGeneration, footer.writerIncarnation});
    entry.setSequence(footer.sequence);
  }
  const bool marked =
      (footer.flags & kFlagDegraded) != 0 && footer.missingMask != 0 && key != nullptr;
  if (marked) entry.flags |= kEntryDegraded;
  addEntry(entry);
  if (marked) {
    StripeName name{footer.hash, footer.tag, {}};
    std::copy_n(footer.stripeId, 16, name.stripeId.begin());
    DegradedMark mark;
    std::copy_n(key, 32, mark.key.begin());
    mark.missingMask = footer.missingMask;
    setMark(name, mark);
  }
}

/** The newest tombstone of a key is held; what it covers goes. */
void Store::applyTombstone(const Fingerprint& print, uint64_t stamp, uint64_t block) {
  for (bool again = true; again;) {
    again = false;
    for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
      if (at->kind() == kTombstone && at->stamp > stamp) return;  // this record is dead already
      if (at->stamp > stamp) continue;
      dropEntry(at);
      again = true;
      break;
    }
  }
  IndexEntry entry{};
  entry.hash = print.hash;
  entry.tag = print.tag;
  entry.stamp = stamp;
  entry.setBlock(block);
  entry.flags = kTombstone;
  addEntry(entry);
}

void Store::setMark(const StripeName& name, const DegradedMark& mark) {
  dropMark(name);
  degraded_[name] = mark;
  if (mark.block != 0) segments_.addLive(mark.block, kBlockBytes);
}

void Store::dropMark(const StripeName& name) {
  const auto found = degraded_.find(name);
  if (found == degraded_.end()) return;
  if (found->second.block != 0) segments_.dropLive(found->second.block, kBlockBytes);
  degraded_.erase(found);
}

StripeName Store::stripeName(const uint8_t* key, const uint8_t* stripeId) const {
  const Fingerprint print = fingerprint(key, super_.salt);
  StripeName name{print.hash, print.tag, {}};
  std::copy_n(stripeId, 16, name.stripeId.begin());
  return name;
}

void Store::setOwnerState(Owner& owner, const OwnerState& state, uint64_t block) {
  if (owner.hasState) segments_.dropLive(owner.stateBlock, kBlockBytes);
  owner.hasState = true;
  owner.state = state;
  owner.stateBlock = block;
  segments_.addLive(block, kBlockBytes);
}

void Store::addRule(Owner& owner, OwnerRule rule) {
  // Only what the new one says anyway. Ranges that merely touch must not become one: under the
  // later stamp the older range would cover records that were written in between.
  if (rule.pins.empty()) {
    for (size_t i = 0; i < owner.rules.size(); ++i) {
      const OwnerRule& other = owner.rules[i];
      if (!other.pins.empty() || !other.sameEpochs(rule) || other.range.from < rule.range.from ||
          other.range.to > rule.range.to || other.stamp > rule.stamp) {
        continue;
      }
      dropRule(owner, i--);  // the new record says all that this one did
    }
  }
  segments_.addLive(rule.block, kBlockBytes);
  ruleBytes_ += ruleBytes(rule);
  rule.swept = false;
  rule.lap = sweepLap_ + 1;
  owner.rules.push_back(std::move(rule));
  ++owner.unswept;
  sweeping_ = true;
}

void Store::dropRule(Owner& owner, size_t index) {
  OwnerRule& rule = owner.rules[index];
  segments_.dropLive(rule.block, kBlockBytes);
  ruleBytes_ -= ruleBytes(rule);
  if (!rule.swept) --owner.unswept;
  owner.rules.erase(owner.rules.begin() + static_cast<std::ptrdiff_t>(index));
}

/** A bounded piece of the walk over the index that takes out what owner tombstones cover. */
void Store::sweepStep() {
  if (sweepCursor_ == 0) ++sweepLap_;
  sweepCursor_ = index_.sweep(sweepCursor_, kSweepPerPoll, [this](const IndexEntry& entry) {
    if (entry.kind() != kShard || !owners_.covered(entry)) return true;
    const IndexEntry gone = entry;
    segments_.dropLive(gone.block(), recordBytes(gone));
    --shards_;
    ++counters_.sweptShards;
    if ((gone.flags & kEntryDegraded) != 0) {
      StripeName name{gone.hash, gone.tag, {}};
      std::copy_n(gone.stripeId, 16, name.stripeId.begin());
      dropMark(name);
    }
    sweptSlots_.push_back(gone.epochSlot);
    return false;
  });
  for (const uint32_t slot : sweptSlots_) owners_.dropReference(slot);
  sweptSlots_.clear();
  if (sweepCursor_ != 0) return;
  sweeping_ = false;
  for (auto& [id, owner] : owners_.all()) {
    for (OwnerRule& rule : owner->rules) {
      if (rule.swept) continue;
      if (rule.lap <= sweepLap_) {
        rule.swept = true;
        --owner->unswept;
      } else {
        sweeping_ = true;
      }
    }
  }
}

}  // namespace nabu::store
