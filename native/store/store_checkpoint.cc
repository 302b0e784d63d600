#include <algorithm>

#include "store/store.h"

// A checkpoint is a copy of what the index and its companions hold, written beside the log while it
// goes on. It begins with a log position P (all records below have ended) and may hold some of what
// came later: replay from P in order ends in the same state either way.

namespace nabu::store {
namespace {

struct SlotElement {
  uint8_t owner[16];
  uint64_t generation;
  uint64_t incarnation;
  uint32_t slot;
  uint32_t reserved;
};
/** Of an owner's state or of one of its tombstones; the body, padded to 8 bytes, follows. */
struct OwnerElement {
  uint8_t owner[16];
  uint64_t block;
  uint64_t stamp;
  uint32_t bodyLength;
  uint32_t reserved;
};
constexpr uint64_t kRetryAfterMs = 100;
constexpr uint32_t kLongestBody =
    std::max(sizeof(OwnerStateBody) + kMaxNoteBytes, sizeof(OwnerRangeBody) + kMaxPins * 16);
struct MarkElement {
  uint64_t hash, tag;
  uint8_t stripeId[16];
  uint8_t key[32];
  uint64_t block;
  uint32_t missingMask;
  uint32_t reserved;
};

std::vector<uint8_t> ownerElement(const Id16& owner, uint64_t block, uint64_t stamp,
                                  const uint8_t* body, uint32_t length) {
  OwnerElement element{};
  std::copy(owner.begin(), owner.end(), element.owner);
  element.block = block;
  element.stamp = stamp;
  element.bodyLength = length;
  std::vector<uint8_t> bytes(sizeof element + roundUp(length, 8));
  std::memcpy(bytes.data(), &element, sizeof element);
  std::memcpy(bytes.data() + sizeof element, body, length);
  return bytes;
}

uint64_t chunkBytesFor(const SegmentTable& segments) {
  const uint64_t room = segments.segmentBytes() - kSegmentHeaderBlocks * kBlockBytes;
  return std::min<uint64_t>(kChunkBytes, room);
}

}  // namespace

/** Cuts elements into checksummed chunks, and chunks into segments that it takes as it needs them.
 */
class Store::CheckpointWriter {
 public:
  CheckpointWriter(Store& store, uint64_t id)
      : store_(store), id_(id), buffer_(chunkBytesFor(store.segments_)) {}

  template <class Element>
  Co<bool> add(SectionKind section, const Element& element) {
    co_return co_await add(section, &element, sizeof element);
  }
  Co<bool> add(SectionKind section, const void* element, size_t size) {
    const auto length = static_cast<uint32_t>(size);
    if (section != section_ || sizeof(ChunkHeader) + length_ + length > buffer_.sizeBytes()) {
      const bool fine16 = co_await flush();
      if (!fine16) co_return false;
      section_ = section;
    }
    std::memcpy(buffer_.bytes() + sizeof(ChunkHeader) + length_, element, length);
    length_ += length;
    ++count_;
    co_return true;
  }
  /** As add for each, without a coroutine for each. */
  template <class Element>
  Co<bool> addAll(SectionKind section, const std::vector<Element>& elements) {
    size_t at = 0;
    while (at < elements.size()) {
      const bool fine17 = co_await add(section, elements[at]);
      if (!fine17) co_return false;
      ++at;
      const size_t room = (buffer_.sizeBytes() - sizeof(ChunkHeader) - length_) / sizeof(Element);
      const size_t now = std::min(room, elements.size() - at);
      if (now == 0) continue;
      std::memcpy(buffer_.bytes() + sizeof(ChunkHeader) + length_, &elements[at],
                  now * sizeof(Element));
      length_ += static_cast<uint32_t>(now * sizeof(Element));
      count_ += static_cast<uint32_t>(now);
      at += now;
    }
    co_return true;
  }
  Co<bool> finish() {
    const bool fine18 = co_await flush();
    if (!fine18) co_return false;
    section_ = kSectionEnd;
    count_ = 1;
    length_ = 8;
    std::memset(buffer_.bytes() + sizeof(ChunkHeader), 0, 8);
    const bool fine19 = co_await flush();
    if (!fine19) co_return false;
    const int error = co_await AwaitIo(*store_.device_, IoKind::kFlush, 0, nullptr, 0);
    co_return error == 0;
  }
  const std::vector<uint32_t>& segments() const { return taken_; }
  uint32_t chunks() const { return number_; }

 private:
  Co<bool> flush() {
    if (count_ == 0) co_return true;
    const uint64_t bytes = roundUp(sizeof(ChunkHeader) + length_, kBlockBytes);
    if (taken_.empty() || at_ + bytes > store_.segments_.segmentBytes()) {
      if (taken_.size() >= kMaxCheckpointSegments || store_.stopping_) co_return false;
      const auto next = co_await store_.takeSegment(kUseCheckpoint, id_);
      if (!next) co_return false;
      store_.segments_.setState(*next, SegmentState::kCheckpoint);
      store_.segments_[*next].used = store_.segments_.segmentBlocks();
      taken_.push_back(*next);
      at_ = kSegmentHeaderBlocks * kBlockBytes;
    }
    auto& header = buffer_.as<ChunkHeader>();
    header = {};
    header.magic = kChunkMagic;
    header.version = kFormatVersion;
    header.checkpointId = id_;
    std::memcpy(header.deviceId, store_.super_.deviceId, 16);
    header.number = number_++;
    header.section = section_;
    header.count = count_;
    header.length = length_;
    header.bodyCrc = checksum(buffer_.bytes() + sizeof header, length_, store_.super_.salt);
    header.crc = checksum(&header, sizeof header, store_.super_.salt);
    const uint64_t end = sizeof header + length_;
    std::memset(buffer_.bytes() + end, 0, bytes - end);
    const uint64_t place = store_.segments_.startByte(taken_.back()) + at_;
    at_ += bytes;
    count_ = length_ = 0;
    const int error =
        co_await AwaitIo(*store_.device_, IoKind::kWrite, place, buffer_.bytes(), bytes);
    if (error != 0) store_.deviceFailed(error);
    co_return error == 0 && !store_.stopping_;
  }

  Store& store_;
  uint64_t id_;
  AlignedBuffer buffer_;
  std::vector<uint32_t> taken_;
  uint64_t at_ = 0;
  uint32_t section_ = 0, count_ = 0, length_ = 0, number_ = 0;
};

Co<> Store::checkpointTask() {
  ++tasks_;
  const std::vector<Done> waiters = std::exchange(checkpointWaiters_, {});
  const bool good = co_await writeCheckpoint();
  checkpointStuck_ = !good;
  if (!good) {
    ++counters_.checkpointFailures;
    checkpointAfterMs_ = options_.nowMs() + kRetryAfterMs;
  }
  checkpointing_ = false;
  --tasks_;
  for (const Done& done : waiters) done(good ? Status::kOk : Status::kFailed, 0);
  idle_.notify();
}

Co<bool> Store::writeCheckpoint() {
  const uint64_t id = ++checkpointStarted_;
  const uint64_t position = durableUpTo();
  bytesSinceCheckpoint_ = 0;
  std::vector<CheckpointSegment> table;
  for (uint32_t i = 0; i < segments_.count(); ++i) {
    const Segment& segment = segments_[i];
    const bool unsettled = segment.state == SegmentState::kPreparing;
    const SegmentState state =
        segment.state == SegmentState::kFreed ? SegmentState::kFree : segment.state;
    table.push_back({unsettled ? 0 : segment.generation, segment.firstSequence,
                     static_cast<uint32_t>(state), segment.used});
  }
  owners_.holdSlots(true);
  CheckpointWriter writer(*this, id);
  bool good = co_await writer.addAll(kSectionSegments, table);
  if (good) good = co_await writeSections(writer);
  if (good) good = co_await writer.finish();
  owners_.holdSlots(false);
  if (!good || stopping_) {
    for (const uint32_t index : writer.segments()) segments_.setState(index, SegmentState::kFree);
    co_return false;
  }
  const Superblock before = super_;
  super_.checkpointId = id;
  super_.checkpointSequence = position;
  super_.checkpointChunks = writer.chunks();
  super_.checkpointSegmentCount = static_cast<uint32_t>(writer.segments().size());
  std::copy(writer.segments().begin(), writer.segments().end(), super_.checkpointSegments);
  const bool fine20 = co_await saveSuperblock();
  if (!fine20) co_return false;
  for (uint32_t i = 0; i < before.checkpointSegmentCount; ++i) {
    segments_.setState(before.checkpointSegments[i], SegmentState::kFree);
  }
  ++counters_.checkpoints;
  freeWanted_ = true;
  if (!closing_) prepareMore(SpaceClass::kUser);
  co_return true;
}

Co<bool> Store::writeSections(CheckpointWriter& writer) {
  constexpr uint64_t kBatch = 4096;
  std::vector<IndexEntry> batch;
  uint64_t cursor = 0;
  do {
    batch.clear();
    cursor = index_.sweep(cursor, kBatch, [&batch](const IndexEntry& entry) {
      batch.push_back(entry);
      return true;
    });
    const bool fine21 = co_await writer.addAll(kSectionIndex, batch);
    if (!fine21) co_return false;
  } while (cursor != 0);

  // After the index, so that every slot that an entry names is there; none changes its meaning
  // meanwhile.
  std::vector<SlotElement> slots;
  for (uint32_t i = 1; i < owners_.slots().size(); ++i) {
    const OwnerTable::Slot& slot = owners_.slots()[i];
    if (slot.owner == nullptr) continue;
    SlotElement element{};
    std::copy_n(slot.owner->id.begin(), 16, element.owner);
    element.generation = slot.epoch.generation;
    element.incarnation = slot.epoch.incarnation;
    element.slot = i;
    slots.push_back(element);
  }
  std::vector<std::vector<uint8_t>> owners, rules;
  uint8_t body[kLongestBody];
  for (const auto& [id, owner] : owners_.all()) {
    if (owner->hasState) {
      const OwnerState& state = owner->state;
      const OwnerStateBody fixed{state.fence.generation,
                                 state.fence.incarnation,
                                 state.homeSetVersion,
                                 state.noteVersion,
                                 static_cast<uint32_t>(state.note.size()),
                                 0};
      std::memcpy(body, &fixed, sizeof fixed);
      std::copy(state.note.begin(), state.note.end(), body + sizeof fixed);
      const auto length = static_cast<uint32_t>(sizeof fixed + state.note.size());
      owners.push_back(ownerElement(id, owner->stateBlock, 0, body, length));
    }
    for (const OwnerRule& rule : owner->rules) {
      const uint32_t length = encodeOwnerRule(rule, body);
      rules.push_back(ownerElement(id, rule.block, rule.stamp, body, length));
    }
  }
  std::vector<MarkElement> marks;
  for (const auto& [name, mark] : degraded_) {
    MarkElement element{name.hash, name.tag, {}, {}, mark.block, mark.missingMask, 0};
    std::copy_n(name.stripeId.begin(), 16, element.stripeId);
    std::copy_n(mark.key.begin(), 32, element.key);
    marks.push_back(element);
  }
  const bool fine22 = co_await writer.addAll(kSectionEpochSlots, slots);
  if (!fine22) co_return false;
  for (const auto& element : owners) {
    const bool good = co_await writer.add(kSectionOwners, element.data(), element.size());
    if (!good) co_return false;
  }
  for (const auto& element : rules) {
    const bool good = co_await writer.add(kSectionOwnerRules, element.data(), element.size());
    if (!good) co_return false;
  }
  co_return co_await writer.addAll(kSectionDegraded, marks);
}

/** False: it is not whole. What was loaded then is thrown away by the caller. */
Co<bool> Store::loadCheckpoint(std::vector<CheckpointSegment>& table) {
  const uint64_t chunkBytes = chunkBytesFor(segments_);
  AlignedBuffer buffer(chunkBytes);
  uint32_t number = 0;
  bool ended = false;
  for (uint32_t i = 0; i < super_.checkpointSegmentCount && !ended; ++i) {
    const uint32_t index = super_.checkpointSegments[i];
    if (index >= segments_.count()) co_return false;
    uint64_t at = kSegmentHeaderBlocks * kBlockBytes;
    while (at < segments_.segmentBytes() && !ended) {
      const uint64_t length = std::min(chunkBytes, segments_.segmentBytes() - at);
      const int error = co_await AwaitIo(*device_, IoKind::kRead, segments_.startByte(index) + at,
                                         buffer.bytes(), length);
      if (error != 0) co_return false;
      ChunkHeader header = buffer.as<ChunkHeader>();
      const uint32_t crc = std::exchange(header.crc, 0);
      if (header.magic != kChunkMagic || header.checkpointId != super_.checkpointId ||
          crc != checksum(&header, sizeof header, super_.salt)) {
        break;  // the rest of this segment is not of it
      }
      if (header.version != kFormatVersion || header.number != number++ ||
          std::memcmp(header.deviceId, super_.deviceId, 16) != 0 ||
          sizeof header + header.length > length ||
          header.bodyCrc != checksum(buffer.bytes() + sizeof header, header.length, super_.salt)) {
        co_return false;
      }
      ended = header.section == kSectionEnd;
      if (!loadChunk(header, buffer.bytes() + sizeof header, table)) co_return false;
      at += roundUp(sizeof header + header.length, kBlockBytes);
    }
  }
  if (!ended || number != super_.checkpointChunks || table.size() != segments_.count())
    co_return false;
  for (uint32_t i = 0; i < table.size(); ++i) {
    if (table[i].generation == segments_[i].generation) segments_[i].used = table[i].used;
    nextGeneration_ = std::max(nextGeneration_, table[i].generation + 1);
  }
  recountIndex();
  co_return true;
}

bool Store::loadChunk(const ChunkHeader& header, const uint8_t* bytes,
                      std::vector<CheckpointSegment>& table) {
  const auto each = [&](auto sample, auto&& take) {
    using Element = decltype(sample);
    if (header.length != header.count * sizeof(Element)) return false;
    for (uint32_t i = 0; i < header.count; ++i) {
      Element element;
      std::memcpy(&element, bytes + i * sizeof(Element), sizeof element);
      if (!take(element)) return false;
    }
    return true;
  };
  const auto eachOwner = [&](auto&& take) {
    uint32_t at = 0;
    for (uint32_t i = 0; i < header.count; ++i) {
      OwnerElement element;
      if (header.length - at < sizeof element) return false;
      std::memcpy(&element, bytes + at, sizeof element);
      at += sizeof element;
      if (element.bodyLength > kLongestBody || header.length - at < element.bodyLength)
        return false;
      if (!take(element, bytes + at)) return false;
      at += static_cast<uint32_t>(roundUp(element.bodyLength, 8));
    }
    return at == header.length;
  };
  switch (header.section) {
    case kSectionSegments:
      return each(CheckpointSegment{}, [&](const CheckpointSegment& element) {
        table.push_back(element);
        return true;
      });
    case kSectionIndex:
      return each(IndexEntry{}, [&](const IndexEntry& element) {
        index_.insert(element);
        return true;
      });
    case kSectionEpochSlots:
      return each(SlotElement{}, [&](const SlotElement& element) {
        owners_.restoreSlot(element.slot, element.owner, {element.generation, element.incarnation});
        return true;
      });
    case kSectionOwners:
      return eachOwner([&](const OwnerElement& element, const uint8_t* body) {
        const auto state = parseOwnerState(body, element.bodyLength);
        if (!state) return false;
        Owner& owner = owners_.get(element.owner);
        setOwnerState(owner, *state, element.block);
        owner.next = *state;
        return true;
      });
    case kSectionOwnerRules:
      return eachOwner([&](const OwnerElement& element, const uint8_t* body) {
        auto rule = parseOwnerRule(body, element.bodyLength);
        if (!rule) return false;
        rule->stamp = element.stamp;
        rule->block = element.block;
        addRule(owners_.get(element.owner), std::move(*rule));
        return true;
      });
    case kSectionDegraded:
      return each(MarkElement{}, [&](const MarkElement& element) {
        StripeName name{element.hash, element.tag, {}};
        std::copy_n(element.stripeId, 16, name.stripeId.begin());
        DegradedMark mark;
        std::copy_n(element.key, 32, mark.key.begin());
        mark.missingMask = element.missingMask;
        mark.block = element.block;
        setMark(name, mark);
        return true;
      });
    default:
      return header.section == kSectionEnd;
  }
}

/** Accounts of a loaded index: live bytes, references to owners, counts. */
void Store::recountIndex() {
  uint64_t cursor = 0;
  do {
    cursor = index_.sweep(cursor, 1U << 20, [this](const IndexEntry& entry) {
      segments_.addLive(entry.block(), static_cast<uint64_t>(entry.recordBlocks()) * kBlockBytes);
      owners_.addReference(entry.epochSlot);
      ++(entry.kind() == kShard ? shards_ : tombstones_);
      return true;
    });
  } while (cursor != 0);
}

/** Gives back segments that no checkpoint names any more and nobody reads. */
Co<> Store::freeSegments() {
  ++tasks_;
  for (uint32_t i = 0; i < segments_.count() && !stopping_ && !failed_; ++i) {
    const Segment& segment = segments_[i];
    if (segment.state != SegmentState::kFreed || segment.freedAt >= super_.checkpointId ||
        segment.readers != 0) {
      continue;
    }
    // The header says so too: a rebuild without the checkpoint does not look into it.
    const bool fine25 = co_await writeSegmentHeader(i, kUseFree, 0);
    if (!fine25) break;
    segments_.setState(i, SegmentState::kFree);
  }
  freeing_ = false;
  full_ = false;
  --tasks_;
  prepareMore(SpaceClass::kUser);
  idle_.notify();
}

}  // namespace nabu::store
