#include <algorithm>

#include "ec/crc32c.h"
#include "store/operations.h"

// Copies what lives in mostly dead segments, so that they can be used again. Background work: one
// record at a time, slowly while there is room, as fast as it goes when appends wait for it.

namespace nabu::store {
namespace {

constexpr uint64_t kLookAgainMs = 500;
constexpr uint64_t kExpiryEveryMs = 3600 * 1000;

}  // namespace

/** A segment whose records are dead by a sixteenth, or that was sealed half empty: the one that
 * gives most. */
std::optional<uint32_t> Store::pickVictim() const {
  const uint64_t usable = segments_.usableBytes();
  std::optional<uint32_t> best;
  uint64_t bestGain = 0;
  std::optional<uint32_t> oldest;
  for (uint32_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_[i];
    if (segment.state != SegmentState::kSealed || segment.stuck || segment.liveBytes == 0) continue;
    if (!oldest || segment.generation < segments_[*oldest].generation) oldest = i;
    const uint64_t written =
        static_cast<uint64_t>(segment.used - kSegmentHeaderBlocks) * kBlockBytes;
    const uint64_t dead = written > segment.liveBytes ? written - segment.liveBytes : 0;
    const uint64_t gain = usable > segment.liveBytes ? usable - segment.liveBytes : 0;
    if ((dead < usable / 16 && gain < usable / 2) || gain <= bestGain) continue;
    best = i;
    bestGain = gain;
  }
  const uint64_t many =
      std::max(segments_.segmentBytes(), segments_.segmentBytes() * segments_.count() / 100);
  if (!best && expiredTombstoneBytes_ > many) return oldest;
  return best;
}

bool Store::expiredStamp(uint64_t stamp) const {
  return (stamp >> 16) + options_.tombstoneRetentionMs < options_.nowMs();
}

/** No other segment can hold an older record. */
bool Store::oldestSegment(uint32_t index) const {
  for (uint32_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_[i];
    const bool records =
        segment.state == SegmentState::kSealed || segment.state == SegmentState::kSealing ||
        segment.state == SegmentState::kOpen || segment.state == SegmentState::kFreed;
    if (i != index && records && segment.generation < segments_[index].generation) return false;
  }
  return true;
}

Co<> Store::compactTask() {
  ++tasks_;
  for (;;) {
    if (closing_ || stopping_ || failed_ || readOnly_) break;
    const bool enough = !anyWaiting() && takeable() > checkpointNeed() + 3 + segments_.count() / 32;
    const auto victim = enough ? std::nullopt : pickVictim();
    if (!victim) {
      compactAfterMs_ = options_.nowMs() + kLookAgainMs;
      break;
    }
    const Compacted result = co_await compactSegment(*victim);
    if (closing_ || stopping_ || failed_) break;
    if (result == Compacted::kUnreadable) {
      segments_[*victim].stuck = true;
    } else if (result == Compacted::kNoRoom || segments_[*victim].liveBytes != 0) {
      compactAfterMs_ = options_.nowMs() + kLookAgainMs;
      break;
    } else {
      ++counters_.compactedSegments;
    }
  }
  compacting_ = false;
  --tasks_;
  idle_.notify();
}

Co<Store::Compacted> Store::compactSegment(uint32_t index) {
  Replay list;
  list.segment = index;
  const bool fine1 = co_await readFooter(list);
  if (!fine1) {
    list.entries.clear();
    co_await scanSegment(list);
  }
  uint64_t due = options_.nowMs();
  for (const FooterEntry& entry : list.entries) {
    if (stopping_ || closing_ || failed_) co_return Compacted::kNoRoom;
    if (!live(index, entry)) continue;
    const Compacted result = co_await compactRecord(index, entry);
    if (result != Compacted::kDone) co_return result;
    const uint64_t bytes = entry.kind == kShard ? entry.shardLength + kBlockBytes : kBlockBytes;
    counters_.compactedBytes += bytes;
    due += bytes * 1000 / options_.compactionBytesPerSecond;
    const auto urgent = [this] { return anyWaiting() || takeable() <= checkpointNeed() + 3; };
    while (!urgent() && options_.nowMs() < due && !closing_ && !stopping_) co_await tick_.wait();
  }
  co_return Compacted::kDone;
}

bool Store::live(uint32_t index, const FooterEntry& entry) {
  const uint64_t block = segments_.start(index) + entry.block;
  switch (entry.kind) {
    case kShard:
    case kTombstone:
      return entryAt({entry.hash, entry.tag}, block) != nullptr;
    case kOwnerState: {
      const Owner* owner = owners_.find(entry.owner);
      return owner != nullptr && owner->hasState && owner->stateBlock == block;
    }
    case kOwnerTombstone: {
      const Owner* owner = owners_.find(entry.owner);
      return owner != nullptr &&
             std::any_of(owner->rules.begin(), owner->rules.end(),
                         [block](const OwnerRule& rule) { return rule.block == block; });
    }
    case kDegradedMark: {
      StripeName name{entry.hash, entry.tag, {}};
      std::copy_n(entry.stripeId, 16, name.stripeId.begin());
      const auto found = degraded_.find(name);
      return found != degraded_.end() && found->second.block == block;
    }
    default:
      return false;
  }
}

IndexEntry* Store::entryAt(const Fingerprint& print, uint64_t block) {
  for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
    if (at->block() == block) return at;
  }
  return nullptr;
}

namespace {

/** Waits until a record is durable or given up. */
struct AwaitRecord {
  RecordWrite& write;
  void (Store::*submit)(RecordWrite*);
  Store& store;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    write.caller = caller;
    write.ended = [](RecordWrite* ended) { ended->caller.resume(); };
    (store.*submit)(&write);
  }
  int await_resume() const noexcept { return write.result; }
};

}  // namespace

/** False: it cannot be copied. */
Co<Store::Compacted> Store::compactRecord(uint32_t index, FooterEntry entry) {
  const uint64_t block = segments_.start(index) + entry.block;
  const Fingerprint print{entry.hash, entry.tag};
  if (admit(1, SpaceClass::kCompaction) != Status::kOk) co_return Compacted::kNoRoom;
  if (entry.kind == kOwnerState) {
    // Not the record but what is in force: updates in flight were written before this one.
    Owner* owner = owners_.find(entry.owner);
    const std::unique_ptr<SmallWrite> write(
        ownerWrite(*owner, owner->next, SpaceClass::kCompaction));
    const int failure3 = co_await AwaitRecord{*write, &Store::submitRecord, *this};
    if (failure3 != 0) co_return Compacted::kNoRoom;
    ownerDurable(write.get());
    co_return Compacted::kDone;
  }
  if (entry.kind == kOwnerTombstone) {
    Owner* owner = owners_.find(entry.owner);
    const auto at = [&] {
      return std::find_if(owner->rules.begin(), owner->rules.end(),
                          [block](const OwnerRule& rule) { return rule.block == block; });
    };
    if (at()->swept && expiredStamp(at()->stamp) && oldestSegment(index)) {
      ++counters_.expiredTombstones;
      const bool whole = at()->whole() && at()->pins.empty();
      dropRule(*owner, static_cast<size_t>(at() - owner->rules.begin()));
      if (whole && owner->slots.empty() && owner->hasState && owner->rules.empty() &&
          owner->appending.empty()) {
        segments_.dropLive(owner->stateBlock, kBlockBytes);
        owner->hasState = false;
        owner->state = owner->next = {};
      }
      owners_.forgetIfEmpty(*owner);
      co_return Compacted::kDone;
    }
    const std::unique_ptr<SmallWrite> write(ruleWrite(*owner, *at(), SpaceClass::kCompaction));
    const int failure4 = co_await AwaitRecord{*write, &Store::submitRecord, *this};
    if (failure4 != 0) co_return Compacted::kNoRoom;
    owner = owners_.find(entry.owner);
    if (owner == nullptr || at() == owner->rules.end()) co_return Compacted::kDone;
    segments_.dropLive(block, kBlockBytes);
    segments_.addLive(write->block, kBlockBytes);
    at()->block = write->block;
    co_return Compacted::kDone;
  }
  if (entry.kind == kDegradedMark) {
    StripeName name{entry.hash, entry.tag, {}};
    std::copy_n(entry.stripeId, 16, name.stripeId.begin());
    const std::unique_ptr<SmallWrite> write(
        markWrite(degraded_[name], entry.stripeId, SpaceClass::kCompaction));
    const int failure5 = co_await AwaitRecord{*write, &Store::submitRecord, *this};
    if (failure5 != 0) co_return Compacted::kNoRoom;
    const auto found = degraded_.find(name);
    if (found == degraded_.end() || found->second.block != block) co_return Compacted::kDone;
    segments_.dropLive(block, kBlockBytes);
    segments_.addLive(write->block, kBlockBytes);
    found->second.block = write->block;
    co_return Compacted::kDone;
  }
  if (entry.kind == kTombstone && expiredStamp(entry.stamp) && oldestSegment(index)) {
    ++counters_.expiredTombstones;
    expiredTombstoneBytes_ -= std::min<uint64_t>(expiredTombstoneBytes_, kBlockBytes);
    dropEntry(entryAt(print, block));
    co_return Compacted::kDone;
  }
  co_return co_await copyRecord(index, entry);
}

/** The bytes themselves, under a new header; the stamp stays. */
Co<Store::Compacted> Store::copyRecord(uint32_t index, FooterEntry entry) {
  const uint64_t block = segments_.start(index) + entry.block;
  const Fingerprint print{entry.hash, entry.tag};
  RecordWrite write;
  const bool fine6 = co_await readHeader(index, entry.block, write.header);
  if (!fine6) co_return Compacted::kUnreadable;
  const ShardMeta& old = write.head().meta;
  write.store = this;
  write.headerBlockCount = write.head().headerBlocks;
  write.payloadBlockCount = payloadBlocks(old);
  write.space = SpaceClass::kCompaction;
  if (admit(write.blocks(), SpaceClass::kCompaction) != Status::kOk) co_return Compacted::kNoRoom;
  AlignedBuffer payload;
  bool damaged = false;
  if (write.payloadBlockCount > 0) {
    payload = AlignedBuffer(static_cast<uint64_t>(write.payloadBlockCount) * kBlockBytes);
    const uint64_t at = (block + write.headerBlockCount) * kBlockBytes;
    const int error =
        co_await AwaitIo(*device_, IoKind::kRead, at, payload.bytes(), payload.sizeBytes());
    const auto* crcs = checksumsOf(write.head());
    // Copied as bad as it is: its checksums go on telling, and the key stays UNKNOWN.
    damaged = error != 0 || ec::verifyBlocks(payload.bytes(), payload.sizeBytes(), crcs) >= 0;
    write.payload = payload.bytes();
  }
  IndexEntry* held = entryAt(print, block);
  if (held == nullptr) co_return Compacted::kDone;  // deleted meanwhile
  ShardMeta& meta = write.head().meta;
  if (entry.kind == kShard) {
    meta.flags |= kFlagCompaction;
    StripeName name{entry.hash, entry.tag, {}};
    std::copy_n(entry.stripeId, 16, name.stripeId.begin());
    const auto mark = degraded_.find(name);
    meta.missingMask = mark == degraded_.end() ? 0 : mark->second.missingMask;
    meta.flags = static_cast<uint16_t>(meta.missingMask != 0 ? meta.flags | kFlagDegraded
                                                             : meta.flags & ~kFlagDegraded);
  }
  write.footer = footerEntryOf(meta, print);
  write.footer.damaged = damaged;
  const int failure7 = co_await AwaitRecord{write, &Store::submitRecord, *this};
  if (failure7 != 0) co_return Compacted::kNoRoom;
  held = entryAt(print, block);
  if (held == nullptr) co_return Compacted::kDone;
  segments_.dropLive(block, static_cast<uint64_t>(held->recordBlocks()) * kBlockBytes);
  segments_.addLive(write.block, static_cast<uint64_t>(held->recordBlocks()) * kBlockBytes);
  held->setBlock(write.block);
  if (damaged) {
    ++counters_.corruptReads;
    held->flags |= kEntryCorrupt;
  }
  co_return Compacted::kDone;
}

/** Counts now and then how much room tombstones take that nobody needs any more. */
Co<> Store::expire() {
  ++tasks_;
  lastExpiryMs_ = options_.nowMs();
  uint64_t cursor = 0, bytes = 0;
  do {
    cursor = index_.sweep(cursor, 4096, [&](const IndexEntry& entry) {
      if (entry.kind() == kTombstone && expiredStamp(entry.stamp)) bytes += kBlockBytes;
      return true;
    });
    if (cursor != 0) co_await tick_.wait();
  } while (cursor != 0 && !closing_ && !stopping_);
  expiredTombstoneBytes_ = bytes;
  expiring_ = false;
  --tasks_;
  idle_.notify();
}

bool Store::expiryDue() const { return options_.nowMs() >= lastExpiryMs_ + kExpiryEveryMs; }

}  // namespace nabu::store
