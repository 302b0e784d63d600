#include <algorithm>
#include <cerrno>

#include "store/store.h"

// Records to segments: room, placement, shared flushes, footers.

namespace nabu::store {

FooterEntry footerEntryOf(const ShardMeta& meta, const Fingerprint& print) {
  FooterEntry entry{};
  entry.hash = print.hash;
  entry.tag = print.tag;
  std::memcpy(entry.stripeId, meta.stripeId, 16);
  std::memcpy(entry.owner, meta.owner, 16);
  entry.writerGeneration = meta.writerGeneration;
  entry.writerIncarnation = meta.writerIncarnation;
  entry.sequence = meta.sequence;
  entry.stamp = meta.stamp;
  entry.blobLength = meta.blobLength;
  entry.shardLength = meta.shardLength;
  entry.missingMask = meta.missingMask;
  entry.flags = meta.flags;
  entry.k = meta.k;
  entry.m = meta.m;
  entry.shardIndex = meta.shardIndex;
  entry.kind = meta.kind;
  return entry;
}

/**
 * A segment that was taken for compaction or deletes when space was short is theirs: what users
 * wrote into it would take the room that is needed to win room.
 */
bool Store::mayWrite(const Segment& segment, SpaceClass space) const {
  return space >= segment.takenFor || mayTake(space);
}

bool Store::roomNow(uint32_t blocks, SpaceClass space) const {
  if (open_ && segments_.fits(segments_[*open_], blocks) && mayWrite(segments_[*open_], space)) {
    return true;
  }
  return !ready_.empty() && mayWrite(segments_[ready_.front()], space);
}

uint32_t Store::takeable() const {
  const uint32_t fresh = hostFull_ ? 0 : segments_.countOf(SegmentState::kUncreated);
  return segments_.countOf(SegmentState::kFree) + fresh;
}

/** Segments that the next checkpoint will take: at least what an index full of small records would.
 */
uint32_t Store::checkpointNeed() const {
  const uint64_t bytes = index_.size() * (sizeof(IndexEntry) + 1) + degraded_.size() * 96 +
                         segments_.count() * 24ULL + owners_.all().size() * 4096ULL + ruleBytes_ +
                         8 * kBlockBytes;
  const auto now = static_cast<uint32_t>(bytes / segments_.usableBytes() + 1);
  return std::max(now, segments_.count() / 64 + 1);
}

bool Store::mayTake(SpaceClass space) const {
  const uint32_t free = takeable();
  switch (space) {
    case SpaceClass::kCheckpoint:
      return free > 0;
    case SpaceClass::kCompaction:
      return free > checkpointNeed();
    case SpaceClass::kSystem:
      return free > checkpointNeed() + 1;
    case SpaceClass::kUser:
      return free > checkpointNeed() + 2;
  }
  return false;
}

/** No segment can be had now, and nothing is under way or can be started that would free one. */
bool Store::hopeless(SpaceClass space) const {
  if (mayTake(space) || preparing_) return false;
  if (space == SpaceClass::kCompaction) return true;
  const bool toFree = segments_.countOf(SegmentState::kFreed) > 0 && !checkpointStuck_;
  if (toFree || segments_.anyEmptied() || checkpointing_ || freeing_ || compacting_ ||
      segments_.countOf(SegmentState::kSealing) > 0) {
    return false;
  }
  return !roomNow(1, SpaceClass::kCompaction) && !mayTake(SpaceClass::kCompaction) ? true
                                                                                   : !pickVictim();
}

/** Before anything is taken: kOk, kTooLarge, kFull. */
Status Store::admit(uint32_t blocks, SpaceClass space) {
  if (blocks > segments_.largestRecord()) return Status::kTooLarge;
  if (roomNow(blocks, space) || !hopeless(space)) return Status::kOk;
  if (space < SpaceClass::kCompaction) {
    full_ = true;
    ++counters_.fullRefusals;
  }
  return Status::kFull;
}

void Store::submitRecord(RecordWrite* write) {
  auto& queue = waitingOf(write->space);
  if (!queue.empty() || !tryPlace(write)) {
    queue.push_back(write);
    prepareMore(write->space);
  }
}

bool Store::tryPlace(RecordWrite* write) {
  if (open_ && segments_.fits(segments_[*open_], write->blocks())) {
    if (!mayWrite(segments_[*open_], write->space)) return false;
    place(write);
    return true;
  }
  if (ready_.empty() || !mayWrite(segments_[ready_.front()], write->space)) return false;
  if (open_) sealOpen();
  open_ = ready_.front();
  ready_.pop_front();
  segments_.setState(*open_, SegmentState::kOpen);
  place(write);
  prepareMore(SpaceClass::kUser);
  return true;
}

void Store::place(RecordWrite* write) {
  Segment& segment = segments_[*open_];
  RecordHeader& head = write->head();
  head.magic = kRecordMagic;
  head.version = kRecordVersion;
  head.headerBlocks = static_cast<uint16_t>(write->headerBlockCount);
  head.generation = segment.generation;
  std::memcpy(head.deviceId, super_.deviceId, 16);
  head.recordSequence = write->recordSequence = nextSequence_++;
  head.durableUpTo = durableUpTo();
  head.segment = write->segment = *open_;
  head.block = segment.used;
  sealRecord(head, super_.salt);
  inFlightEnded_.push_back(false);

  write->block = segments_.start(*open_) + segment.used;
  write->footer.recordSequence = write->recordSequence;
  write->footer.block = segment.used;
  write->entry = static_cast<uint32_t>(segment.entries.size());
  segment.entries.push_back(write->footer);
  segment.used += write->blocks();
  ++segment.pending;
  bytesSinceCheckpoint_ += write->bytes();

  write->one(IoKind::kWrite, write->block * kBlockBytes, write->header.bytes(),
             static_cast<uint64_t>(write->headerBlockCount) * kBlockBytes);
  if (write->payloadBlockCount > 0) {
    write->iovCount = 2;
    write->iov[1] = {const_cast<void*>(write->payload),
                     static_cast<uint64_t>(write->payloadBlockCount) * kBlockBytes};
  }
  // With shared flushes a write that is alone is still one trip.
  const bool alone = writesInFlight_ == 0 && unflushed_.empty();
  write->durable = device_->volatileCache() && (!options_.sharedFlushes || alone);
  write->complete = recordWritten;
  ++writesInFlight_;
  device_->submit(*write);
  if (segment.used * 2 > segments_.segmentBlocks() && ready_.empty()) {
    prepareMore(SpaceClass::kUser);
  }
}

void Store::recordWritten(IoRequest* io) {
  auto* write = static_cast<RecordWrite*>(io);
  Store& store = *write->store;
  --store.writesInFlight_;
  if (write->result == 0 && !write->durable && store.device_->volatileCache()) {
    store.unflushed_.push_back(write);
    store.startFlush();
  } else {
    store.recordEnded(write);
  }
}

void Store::startFlush() {
  if (!flushing_.empty() || unflushed_.empty()) return;
  flushing_.swap(unflushed_);
  ++counters_.flushes;
  flushIo_.kind = IoKind::kFlush;
  flushIo_.store = this;
  flushIo_.complete = [](IoRequest* io) {
    Store& store = *static_cast<Flush*>(io)->store;
    std::vector<RecordWrite*> ended;
    ended.swap(store.flushing_);
    const int result = io->result;
    store.startFlush();
    for (RecordWrite* write : ended) {
      write->result = result;
      store.recordEnded(write);
    }
  };
  device_->submit(flushIo_);
}

void Store::recordEnded(RecordWrite* write) {
  inFlightEnded_[write->recordSequence - inFlightBase_] = true;
  while (!inFlightEnded_.empty() && inFlightEnded_.front()) {
    inFlightEnded_.pop_front();
    ++inFlightBase_;
  }
  const uint32_t index = write->segment;
  if (write->result != 0) {
    segments_[index].entries[write->entry].kind = 0;
    deviceFailed(write->result);
  }
  write->ended(write);  // may free or reuse it
  Segment& segment = segments_[index];
  if (--segment.pending == 0 && segment.state == SegmentState::kSealing) {
    spawn(sealSegment(index));
  }
}

void Store::deviceFailed(int error) {
  ++counters_.writeErrors;
  if (error == -EROFS) {
    readOnly_ = true;
  } else {
    failed_ = true;
  }
  failAllWaiting(writable());
  segmentFree_.notify();
}

void Store::failWaiting(Status status, SpaceClass space) {
  std::deque<RecordWrite*> given;
  given.swap(waitingOf(space));
  for (RecordWrite* write : given) {
    write->result = status == Status::kFull     ? -ENOSPC
                    : status == Status::kClosed ? -ECANCELED
                                                : -EIO;
    write->ended(write);
  }
}

void Store::failAllWaiting(Status status) {
  for (const SpaceClass space : {SpaceClass::kUser, SpaceClass::kSystem, SpaceClass::kCompaction}) {
    failWaiting(status, space);
  }
}

/** Who wins room goes first, who takes it last. */
void Store::drainWaiting() {
  for (const SpaceClass space : {SpaceClass::kCompaction, SpaceClass::kSystem, SpaceClass::kUser}) {
    auto& queue = waitingOf(space);
    while (!queue.empty() && tryPlace(queue.front())) queue.pop_front();
  }
}

/** Ahead of need when there is plenty; else for the least of those who wait and may have it. */
void Store::prepareMore(SpaceClass space) {
  if (preparing_ || stopping_ || !opened_ || failed_ || readOnly_ || !ready_.empty()) return;
  for (SpaceClass demand : {SpaceClass::kUser, SpaceClass::kSystem, SpaceClass::kCompaction}) {
    const bool wanted =
        demand == SpaceClass::kUser || demand == space || !waitingOf(demand).empty();
    if (!wanted || !mayTake(demand)) continue;
    preparing_ = true;
    spawn(prepareSegment(demand));
    return;
  }
}

Co<> Store::prepareSegment(SpaceClass demand) {
  ++tasks_;
  const auto index = co_await takeSegment(kUseRecords, 0);
  preparing_ = false;
  if (index) {
    segments_[*index].takenFor = demand;
    segments_.setState(*index, SegmentState::kReady);
    ready_.push_back(*index);
    ++counters_.segmentsPrepared;
    full_ = false;
    drainWaiting();
    prepareMore(SpaceClass::kUser);
  }
  --tasks_;
  idle_.notify();
}

Co<int> Store::writeZeros(uint32_t index) {
  constexpr uint64_t kPiece = 1U << 20;
  AlignedBuffer zeros(std::min<uint64_t>(kPiece, segments_.segmentBytes()));
  const uint64_t start = segments_.startByte(index);
  for (uint64_t at = 0; at < segments_.segmentBytes(); at += zeros.sizeBytes()) {
    if (stopping_) co_return -ECANCELED;
    const uint64_t length = std::min(zeros.sizeBytes(), segments_.segmentBytes() - at);
    const int error = co_await AwaitIo(*device_, IoKind::kWrite, start + at, zeros.bytes(), length);
    if (error != 0) co_return error;
  }
  co_return co_await AwaitIo(*device_, IoKind::kFlush, 0, nullptr, 0);
}

/** A free segment with a new generation and its header durable, or none; state kPreparing. */
Co<std::optional<uint32_t>> Store::takeSegment(SegmentUse use, uint64_t checkpointId) {
  std::optional<uint32_t> found;
  for (uint32_t i = 0; i < segments_.count() && !found; ++i) {
    if (segments_[i].state == SegmentState::kFree) found = i;
  }
  for (uint32_t i = super_.segmentsCreated; i < segments_.count() && !found && !hostFull_; ++i) {
    if (segments_[i].state == SegmentState::kUncreated) found = i;
  }
  if (!found) co_return std::nullopt;
  const uint32_t index = *found;
  const bool fresh = segments_[index].state == SegmentState::kUncreated;
  segments_.setState(index, SegmentState::kPreparing);
  if (fresh) {
    // Written once: overwriting written blocks is the fast durable write.
    int error = 0;
    if (device_->wantsFirstWrite()) error = co_await writeZeros(index);
    if (error != 0) {
      segments_.setState(index, SegmentState::kUncreated);
      if (error == -ENOSPC) {
        hostFull_ =
            true;  // a sparse file on a full file system: what is written already stays usable
      } else if (error != -ECANCELED) {
        deviceFailed(error);
      }
      co_return std::nullopt;
    }
    super_.segmentsCreated = std::max(super_.segmentsCreated, index + 1);
    const bool fine26 = co_await saveSuperblock();
    if (!fine26) {
      segments_.setState(index, SegmentState::kUncreated);
      co_return std::nullopt;
    }
  }
  Segment& segment = segments_[index];
  segment.generation = nextGeneration_++;
  segment.firstSequence = nextSequence_;
  segment.liveBytes = 0;
  segment.stuck = false;
  segment.used = kSegmentHeaderBlocks;
  segment.entries.clear();
  const bool fine27 = co_await writeSegmentHeader(index, use, checkpointId);
  if (!fine27) {
    segments_.setState(index, SegmentState::kFree);
    co_return std::nullopt;
  }
  co_return index;
}

Co<bool> Store::writeSegmentHeader(uint32_t index, SegmentUse use, uint64_t checkpointId) {
  AlignedBuffer buffer(kSegmentHeaderBlocks * kBlockBytes);
  auto& header = buffer.as<SegmentHeader>();
  header.magic = kSegmentMagic;
  header.version = kFormatVersion;
  header.segment = index;
  std::memcpy(header.deviceId, super_.deviceId, 16);
  header.generation = segments_[index].generation;
  header.firstSequence = segments_[index].firstSequence;
  header.checkpointId = checkpointId;
  header.use = use;
  sealSegmentHeader(header, super_.salt);
  buffer.as<SegmentHeader>(kBlockBytes) = header;
  const int error = co_await AwaitIo(*device_, IoKind::kWrite, segments_.startByte(index),
                                     buffer.bytes(), buffer.sizeBytes(), true);
  if (error != 0) deviceFailed(error);
  co_return error == 0;
}

void Store::sealOpen() {
  const uint32_t index = *open_;
  open_.reset();
  segments_.setState(index, SegmentState::kSealing);
  if (segments_[index].pending == 0) spawn(sealSegment(index));
}

Co<> Store::sealSegment(uint32_t index) {
  ++tasks_;
  const bool fine28 = co_await writeFooter(index);
  if (fine28) {
    segments_.setState(index, SegmentState::kSealed);
    segments_[index].entries = {};
    ++counters_.segmentsSealed;
    if (segments_[index].liveBytes == 0) segments_.noteEmptied(index);
  }
  --tasks_;
  idle_.notify();
}

Co<bool> Store::writeFooter(uint32_t index) {
  Segment& segment = segments_[index];
  std::vector<FooterEntry> entries;
  entries.reserve(segment.entries.size());
  for (const FooterEntry& entry : segment.entries) {
    if (entry.kind != 0) entries.push_back(entry);
  }
  const uint32_t blocks = footerBlocks(entries.size());
  AlignedBuffer buffer(static_cast<uint64_t>(blocks) * kBlockBytes);
  const uint64_t length = entries.size() * sizeof(FooterEntry);
  if (length > 0) std::memcpy(buffer.bytes(), entries.data(), length);
  auto& trailer = buffer.as<FooterTrailer>(buffer.sizeBytes() - sizeof(FooterTrailer));
  trailer.magic = kFooterMagic;
  trailer.version = kFormatVersion;
  trailer.generation = segment.generation;
  std::memcpy(trailer.deviceId, super_.deviceId, 16);
  trailer.segment = index;
  trailer.entryCount = static_cast<uint32_t>(entries.size());
  trailer.nextSequence =
      segment.entries.empty() ? segment.firstSequence : segment.entries.back().recordSequence + 1;
  trailer.entriesCrc = checksum(buffer.bytes(), length, super_.salt);
  trailer.crc = 0;
  trailer.crc = checksum(&trailer, sizeof trailer, super_.salt);
  const uint64_t at = segments_.startByte(index) + segments_.segmentBytes() - buffer.sizeBytes();
  const int error =
      co_await AwaitIo(*device_, IoKind::kWrite, at, buffer.bytes(), buffer.sizeBytes(), true);
  if (error != 0) deviceFailed(error);
  co_return error == 0;
}

/** Both copies, one after the other, so that at every instant one is good. */
Co<bool> Store::saveSuperblock() {
  while (superBusy_) co_await superFree_.wait();
  superBusy_ = true;
  ++super_.revision;
  AlignedBuffer buffer(kBlockBytes);
  buffer.as<Superblock>() = super_;
  sealSuperblock(buffer.as<Superblock>());
  int error = 0;
  for (const uint64_t at : {uint64_t{0}, kSecondSuperblock}) {
    error = co_await AwaitIo(*device_, IoKind::kWrite, at, buffer.bytes(), kBlockBytes, true);
    if (error != 0) break;
  }
  superBusy_ = false;
  superFree_.notify();
  if (error != 0) deviceFailed(error);
  co_return error == 0;
}

}  // namespace nabu::store
