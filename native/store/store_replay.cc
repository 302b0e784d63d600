#include <algorithm>

#include "ec/crc32c.h"
#include "store/store.h"

// What the log says since the checkpoint, or all of it.

namespace nabu::store {
namespace {

constexpr uint32_t kWindowBlocks = 256;

}  // namespace

/** Reads a segment forwards, in large pieces, or block by block where a piece cannot be read. */
class Store::SegmentReader {
 public:
  SegmentReader(Device& device, const SegmentTable& segments, uint32_t index)
      : device_(device),
        start_(segments.startByte(index)),
        blocks_(segments.segmentBlocks()),
        window_(static_cast<uint64_t>(kWindowBlocks) * kBlockBytes) {}

  bool has(uint32_t block) const { return block >= first_ && block < first_ + count_; }
  Co<> load(uint32_t block) {
    first_ = block;
    count_ = std::min(kWindowBlocks, blocks_ - block);
    bad_.assign(count_, false);
    const int error = co_await AwaitIo(
        device_, IoKind::kRead, start_ + static_cast<uint64_t>(first_) * kBlockBytes,
        window_.bytes(), static_cast<uint64_t>(count_) * kBlockBytes);
    if (error == 0) co_return;
    for (uint32_t i = 0; i < count_; ++i) {
      const int alone = co_await AwaitIo(
          device_, IoKind::kRead, start_ + static_cast<uint64_t>(first_ + i) * kBlockBytes,
          window_.bytes() + static_cast<uint64_t>(i) * kBlockBytes, kBlockBytes);
      bad_[i] = alone != 0;
    }
  }
  /** Null: the device cannot read it. Only while has(). */
  const uint8_t* at(uint32_t block) const {
    const uint32_t i = block - first_;
    return bad_[i] ? nullptr : window_.bytes() + static_cast<uint64_t>(i) * kBlockBytes;
  }

 private:
  Device& device_;
  uint64_t start_;
  uint32_t blocks_;
  AlignedBuffer window_;
  uint32_t first_ = 0, count_ = 0;
  std::vector<bool> bad_;
};

/**
 * Every record of the segment's generation, in its order, payloads verified. A bad header stops
 * nothing: records are acknowledged out of order, so a good one may lie behind. A good header with
 * a bad payload (`damaged`) still tells where the next record begins; what lies in its payload is
 * never taken for a record.
 */
Co<> Store::scanSegment(Replay& replay) {
  const uint32_t index = replay.segment;
  SegmentReader reader(*device_, segments_, index);
  const uint32_t end = segments_.segmentBlocks();
  const uint64_t generation = segments_[index].generation;
  uint64_t newest = generation;
  AlignedBuffer header(kBlockBytes);
  uint32_t block = kSegmentHeaderBlocks;
  while (block < end) {
    if (!reader.has(block)) co_await reader.load(block);
    const uint8_t* at = reader.at(block);
    if (at == nullptr) {
      replay.unreadable = true;
      ++block;
      continue;
    }
    const auto& first = *reinterpret_cast<const RecordHeader*>(at);
    if (!plausibleRecord(first, super_, index, generation, block)) {
      ++block;
      continue;
    }
    const uint32_t headerBlocks = first.headerBlocks;
    const uint32_t payload = payloadBlocks(first.meta);
    if (static_cast<uint64_t>(block) + headerBlocks + payload > end) {
      ++block;
      continue;
    }
    header.ensure(static_cast<uint64_t>(headerBlocks) * kBlockBytes);
    bool whole = true;
    for (uint32_t i = 0; i < headerBlocks && whole; ++i) {
      if (!reader.has(block + i)) co_await reader.load(block + i);
      const uint8_t* part = reader.at(block + i);
      whole = part != nullptr;
      if (whole)
        std::memcpy(header.bytes() + static_cast<uint64_t>(i) * kBlockBytes, part, kBlockBytes);
    }
    const auto& head = header.as<RecordHeader>();
    if (!whole || !goodRecord(head, super_.salt)) {
      ++block;
      continue;
    }
    FooterEntry entry = footerEntryOf(head.meta, fingerprint(head.meta.key, super_.salt));
    entry.recordSequence = head.recordSequence;
    entry.block = block;
    const auto* crcs = checksumsOf(head);
    for (uint32_t i = 0; i < payload; ++i) {
      const uint32_t place = block + headerBlocks + i;
      if (!reader.has(place)) co_await reader.load(place);
      const uint8_t* bytes = reader.at(place);
      if (bytes == nullptr || ec::crc32c(bytes, kBlockBytes) != crcs[i]) entry.damaged = 1;
    }
    if (head.generation > newest) {
      newest = head.generation;  // only with a lost header: what was found so far lies underneath
      replay.entries.clear();
    }
    if (head.generation == newest) {
      replay.entries.push_back(entry);
      replay.durableUpTo = std::max(replay.durableUpTo, head.durableUpTo);
    }
    block += headerBlocks + payload;
  }
  segments_[index].generation = newest;
  nextGeneration_ = std::max(nextGeneration_, newest + 1);
}

/** The list at the end of a sealed segment, or false. */
Co<bool> Store::readFooter(Replay& replay) {
  const uint32_t index = replay.segment;
  const uint64_t end = segments_.startByte(index) + segments_.segmentBytes();
  AlignedBuffer last(kBlockBytes);
  const int failure8 =
      co_await AwaitIo(*device_, IoKind::kRead, end - kBlockBytes, last.bytes(), kBlockBytes);
  if (failure8 != 0) {
    co_return false;
  }
  FooterTrailer trailer = last.as<FooterTrailer>(kBlockBytes - sizeof(FooterTrailer));
  const uint32_t crc = std::exchange(trailer.crc, 0);
  if (trailer.magic != kFooterMagic || trailer.version != kFormatVersion ||
      trailer.segment != index || trailer.generation != segments_[index].generation ||
      std::memcmp(trailer.deviceId, super_.deviceId, 16) != 0 ||
      crc != checksum(&trailer, sizeof trailer, super_.salt)) {
    co_return false;
  }
  const uint32_t blocks = footerBlocks(trailer.entryCount);
  if (blocks + kSegmentHeaderBlocks > segments_.segmentBlocks()) co_return false;
  AlignedBuffer buffer(static_cast<uint64_t>(blocks) * kBlockBytes);
  const int failure9 = co_await AwaitIo(*device_, IoKind::kRead, end - buffer.sizeBytes(),
                                        buffer.bytes(), buffer.sizeBytes());
  if (failure9 != 0) {
    co_return false;
  }
  const uint64_t length = trailer.entryCount * sizeof(FooterEntry);
  if (checksum(buffer.bytes(), length, super_.salt) != trailer.entriesCrc) co_return false;
  const auto* entries = reinterpret_cast<const FooterEntry*>(buffer.bytes());
  replay.entries.assign(entries, entries + trailer.entryCount);
  replay.nextSequence = trailer.nextSequence;
  co_return true;
}

/**
 * Segments in the order they were used. First all are looked at, to learn up to which sequence
 * records had ended: a gap or a damaged record below that was acknowledged and is lost; above, it
 * is a torn write that nobody was told of.
 */
Co<bool> Store::replay(std::vector<Replay>& replays, uint64_t fromSequence) {
  uint64_t durable = 0;
  bool lost = false;
  for (Replay& part : replays) {
    bool listed = false;
    if (!part.lostHeader) listed = co_await readFooter(part);
    if (listed) {
      durable = std::max(durable, part.nextSequence);
      part.entries = {};  // read again in its turn: all footers at once may be too much
    } else {
      part.scanned = true;
      co_await scanSegment(part);
      durable = std::max(durable, part.durableUpTo);
      lost = lost || part.unreadable || part.lostHeader;
    }
  }
  std::sort(replays.begin(), replays.end(), [this](const Replay& a, const Replay& b) {
    return segments_[a.segment].generation < segments_[b.segment].generation;
  });
  uint64_t expected = 0;
  for (Replay& part : replays) {
    bool known = true;
    if (!part.scanned) known = co_await readFooter(part);
    if (!known) {
      part.scanned = true;  // it was good a moment ago
      co_await scanSegment(part);
    }
    std::vector<FooterEntry> kept;
    for (const FooterEntry& entry : part.entries) {
      if (part.scanned) {
        if (expected != 0 && entry.recordSequence > expected && expected < durable &&
            expected >= fromSequence) {
          lost = true;
        }
        expected = entry.recordSequence + 1;
        if (entry.damaged != 0 && (entry.recordSequence >= durable || entry.kind != kShard)) {
          ++counters_.tornRecords;
          continue;
        }
        kept.push_back(entry);
      }
      nextSequence_ = std::max(nextSequence_, entry.recordSequence + 1);
      if (entry.recordSequence < fromSequence) continue;
      ++counters_.rebuiltRecords;
      const bool fine10 = co_await applyRecord(part.segment, entry);
      if (!fine10) lost = true;
    }
    uint32_t end = kSegmentHeaderBlocks;
    for (const FooterEntry& entry : part.entries) {
      const bool shard = entry.kind == kShard;
      const uint32_t payload = shard ? entry.shardLength / kBlockBytes : 0;
      end = std::max(end, entry.block + payload + headerBlocksFor(shard ? 4 * payload : 0));
    }
    segments_[part.segment].used = end;
    if (!part.scanned) expected = part.nextSequence;
    nextSequence_ = std::max(nextSequence_, part.nextSequence);
    part.entries = std::move(kept);
  }
  if (lost) {
    ++counters_.lostRanges;
    super_.completeSince = std::max<uint64_t>(super_.completeSince, options_.nowMs() << 16);
  }
  // What was read may still be in a volatile cache: durable before anybody is told of it.
  const int failure11 = co_await AwaitIo(*device_, IoKind::kFlush, 0, nullptr, 0);
  if (failure11 != 0) co_return false;
  for (Replay& part : replays) {
    Segment& segment = segments_[part.segment];
    if (part.scanned) {
      segment.entries = std::move(part.entries);
      if (segment.entries.empty()) {
        segment.liveBytes = 0;
        const bool fine12 = co_await writeSegmentHeader(part.segment, kUseFree, 0);
        if (!fine12) co_return false;
        segments_.setState(part.segment, SegmentState::kFree);
        continue;
      }
      const bool fine13 = co_await writeFooter(part.segment);
      if (!fine13) co_return false;  // placement kept room for it
      segment.entries = {};
    }
    if (segment.liveBytes == 0) segments_.noteEmptied(part.segment);
  }
  co_return true;
}

Co<bool> Store::readHeader(uint32_t segment, uint32_t block, AlignedBuffer& out) {
  out.ensure(kBlockBytes);
  const uint64_t at = (segments_.start(segment) + block) * kBlockBytes;
  const int failure14 = co_await AwaitIo(*device_, IoKind::kRead, at, out.bytes(), kBlockBytes);
  if (failure14 != 0) co_return false;
  const auto& first = out.as<RecordHeader>();
  if (!plausibleRecord(first, super_, segment, segments_[segment].generation, block))
    co_return false;
  const uint32_t blocks = first.headerBlocks;
  if (blocks > 1) {
    out = AlignedBuffer(static_cast<uint64_t>(blocks) * kBlockBytes);
    const int failure15 =
        co_await AwaitIo(*device_, IoKind::kRead, at, out.bytes(), out.sizeBytes());
    if (failure15 != 0) co_return false;
  }
  co_return goodRecord(out.as<RecordHeader>(), super_.salt);
}

/** In the order of record sequences. False: the record is in the list and cannot be read. */
Co<bool> Store::applyRecord(uint32_t segment, FooterEntry entry) {
  const Fingerprint print{entry.hash, entry.tag};
  const uint64_t block = segments_.start(segment) + entry.block;
  if (entry.kind == kTombstone) {
    applyTombstone(print, entry.stamp, block);
    co_return true;
  }
  AlignedBuffer buffer;
  const bool wantsHeader = entry.kind != kShard || (entry.flags & kFlagDegraded) != 0;
  bool headerGood = true;
  if (wantsHeader) headerGood = co_await readHeader(segment, entry.block, buffer);
  if (!headerGood) {
    if (entry.kind != kShard) co_return false;
    entry.damaged = 1;
  }
  if (entry.kind == kShard) {
    const Owner* owner = owners_.find(entry.owner);
    if (buried(print, entry.stamp) ||
        (owner != nullptr &&
         owner->covered({entry.writerGeneration, entry.writerIncarnation}, entry.sequence,
                        (entry.flags & kFlagLog) != 0, entry.stamp))) {
      co_return true;
    }
    IndexEntry* held = findShard(print, entry.stripeId, entry.shardIndex);
    if (held != nullptr) {
      if (entry.damaged != 0) co_return true;
      dropEntry(held);
    }
    const bool keyed = wantsHeader && entry.damaged == 0;
    putShard(entry, block, keyed ? buffer.as<RecordHeader>().meta.key : nullptr);
    co_return true;
  }
  const auto& head = buffer.as<RecordHeader>();
  const auto* body = reinterpret_cast<const uint8_t*>(&head + 1);
  if (entry.kind == kOwnerState) {
    Owner& owner = owners_.get(head.meta.owner);
    std::optional<OwnerState> state = parseOwnerState(body, head.bodyLength);
    if (!state) co_return false;
    state->fence = std::max(state->fence, owner.state.fence);
    owner.stateSequence = entry.recordSequence;
    setOwnerState(owner, *state, block);
    owner.next = *state;
  } else if (entry.kind == kOwnerTombstone) {
    std::optional<OwnerRule> rule = parseOwnerRule(body, head.bodyLength);
    if (!rule) co_return false;
    rule->stamp = entry.stamp;
    rule->block = block;
    addRule(owners_.get(head.meta.owner), std::move(*rule));
  } else if (entry.kind == kDegradedMark) {
    DegradedMark mark;
    std::copy_n(head.meta.key, 32, mark.key.begin());
    mark.missingMask = head.meta.missingMask;
    mark.block = block;
    applyMark(stripeName(head.meta.key, head.meta.stripeId), mark);
  }
  co_return true;
}

std::optional<OwnerState> parseOwnerState(const uint8_t* body, uint32_t length) {
  if (length < sizeof(OwnerStateBody)) return std::nullopt;
  OwnerStateBody fixed;
  std::memcpy(&fixed, body, sizeof fixed);
  if (fixed.noteLength > kMaxNoteBytes || fixed.noteLength != length - sizeof fixed)
    return std::nullopt;
  OwnerState state;
  state.fence = {fixed.fenceGeneration, fixed.fenceIncarnation};
  state.homeSetVersion = fixed.homeSetVersion;
  state.noteVersion = fixed.noteVersion;
  state.note.assign(body + sizeof fixed, body + length);
  return state;
}

std::optional<OwnerRule> parseOwnerRule(const uint8_t* body, uint32_t length) {
  if (length < sizeof(OwnerRangeBody)) return std::nullopt;
  OwnerRangeBody fixed;
  std::memcpy(&fixed, body, sizeof fixed);
  if (fixed.pinCount > kMaxPins || fixed.pinCount * 16U != length - sizeof fixed)
    return std::nullopt;
  OwnerRule rule;
  if (fixed.hasGeneration != 0) rule.generation = fixed.generation;
  if (fixed.hasIncarnation != 0) rule.incarnation = fixed.incarnation;
  rule.range = {fixed.fromSequence, fixed.toSequence};
  rule.pins.resize(fixed.pinCount);
  if (fixed.pinCount > 0) std::memcpy(rule.pins.data(), body + sizeof fixed, fixed.pinCount * 16U);
  return rule;
}

}  // namespace nabu::store
