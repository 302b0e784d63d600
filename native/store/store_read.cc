#include <algorithm>
#include <utility>

#include "ec/crc32c.h"
#include "store/operations.h"

namespace nabu::store {

Status Store::lookup(const uint8_t* key, uint64_t askStamp, std::vector<ShardSummary>& out,
                     uint64_t& deletedStamp) {
  ++counters_.lookups;
  deletedStamp = 0;
  bool corrupt = false, found = false;
  const size_t before = out.size();
  const Fingerprint print = fingerprint(key, super_.salt);
  for (const IndexEntry* at = index_.first(print); at != nullptr;
       at = index_.next(const_cast<IndexEntry*>(at))) {
    if (at->kind() == kTombstone) {
      deletedStamp = std::max(deletedStamp, at->stamp);
      continue;
    }
    if (owners_.covered(*at)) continue;
    // Beside a good shard a corrupt one is named too: that it was acknowledged counts, readable or
    // not.
    if ((at->flags & kEntryCorrupt) != 0) {
      corrupt = true;
    } else {
      found = true;
    }
    ShardSummary summary{};
    std::memcpy(summary.stripeId, at->stripeId, 16);
    summary.stamp = at->stamp;
    summary.blobLength = at->blobLength;
    summary.shardLength = static_cast<uint32_t>(at->shardBlocks) * kBlockBytes;
    summary.shardIndex = at->shardIndex();
    summary.k = at->k();
    summary.m = at->m();
    out.push_back(summary);
  }
  if (found) return Status::kOk;
  out.resize(before);
  if (corrupt || askStamp < super_.completeSince) return Status::kUnknown;
  return Status::kAbsent;
}

namespace {

/** What the reader is told beside the payload: the descriptor, as of this range, and its
 * checksums. */
void describeRange(const RecordHeader& head, uint64_t rangeOffset, uint64_t rangeLength,
                   uint8_t* metaOut) {
  ShardMeta meta = head.meta;
  meta.rangeOffset = static_cast<uint32_t>(rangeOffset);
  meta.crcCount = static_cast<uint32_t>(rangeLength / kBlockBytes);
  std::memcpy(metaOut, &meta, sizeof meta);
  std::memcpy(metaOut + sizeof meta, checksumsOf(head) + rangeOffset / kBlockBytes,
              4ULL * meta.crcCount);
}

}  // namespace

/** The newest shard that fits, and how much of it is asked for. Anything but kOk is the answer. */
Status Store::pick(const ReadRequest& request, const Fingerprint& print, const IndexEntry*& best,
                   uint64_t& length) {
  if (closing_) return Status::kClosed;
  if (request.rangeOffset % kBlockBytes != 0) return refuse("rangeOffset");
  if (request.rangeLength % kBlockBytes != 0) return refuse("rangeLength");
  best = nullptr;
  bool corrupt = false;
  for (const IndexEntry* at = index_.first(print); at != nullptr;
       at = index_.next(const_cast<IndexEntry*>(at))) {
    if (at->kind() != kShard || owners_.covered(*at)) continue;
    if (request.stripeId != nullptr && std::memcmp(at->stripeId, request.stripeId, 16) != 0)
      continue;
    if (request.shardIndex != 255 && at->shardIndex() != request.shardIndex) continue;
    if ((at->flags & kEntryCorrupt) != 0) {
      corrupt = true;
      continue;
    }
    if (best == nullptr || at->stamp > best->stamp) best = at;
  }
  if (best == nullptr) {
    if (corrupt) return Status::kCorrupt;
    return request.askStamp < super_.completeSince ? Status::kUnknown : Status::kAbsent;
  }
  const uint64_t shardLength = static_cast<uint64_t>(best->shardBlocks) * kBlockBytes;
  if (request.rangeOffset >= shardLength) return Status::kOutOfRange;
  length = request.rangeLength == 0 ? shardLength - request.rangeOffset : request.rangeLength;
  if (length > shardLength - request.rangeOffset) return Status::kOutOfRange;
  if (request.metaCapacity < sizeof(ShardMeta) + length / 1024) return refuse("metaOutOffset");
  if (inFlight_ >= options_.maxInFlight) return Status::kQueueFull;
  return Status::kOk;
}

Status Store::read(const ReadRequest& request, Done done) {
  if (reinterpret_cast<uintptr_t>(request.payload) % kBlockBytes != 0)
    return refuse("payloadOffset");
  const Fingerprint print = fingerprint(request.key, super_.salt);
  const IndexEntry* best;
  uint64_t length;
  if (const Status status = pick(request, print, best, length); status != Status::kOk)
    return status;
  if (length > request.payloadCapacity) return refuse("payloadCapacity");

  if (freeReads_.empty()) {
    readPool_.push_back(std::make_unique<ReadOp>());
    freeReads_.push_back(readPool_.back().get());
  }
  ReadOp* op = freeReads_.back();
  freeReads_.pop_back();
  op->store = this;
  op->error = 0;
  op->fromDevice = false;
  op->print = print;
  std::copy_n(request.key, 32, op->key.begin());
  op->block = best->block();
  op->segment = segments_.of(op->block);
  op->generation = segments_[op->segment].generation;
  op->rangeOffset = request.rangeOffset;
  op->rangeLength = length;
  op->payload = request.payload;
  op->metaOut = request.metaOut;
  op->done = done;
  ++segments_[op->segment].readers;
  ++inFlight_;
  ++counters_.reads;
  counters_.readBytes += length;

  const uint64_t headerBytes =
      static_cast<uint64_t>(best->recordBlocks() - best->shardBlocks) * kBlockBytes;
  const uint64_t at = op->block * kBlockBytes;
  for (ReadOp::Part& part : op->parts) {
    part.op = op;
    part.complete = readDone;
  }
  if (const RecordHeader* known = headers_.find(op->block, op->generation)) {
    const uint32_t bytes = recordHeaderLength(*known);
    op->cached.resize((bytes + 7) / 8);
    std::memcpy(op->cached.data(), known, bytes);
    op->head = reinterpret_cast<const RecordHeader*>(op->cached.data());
    op->pending = 1;
    op->parts[0].one(IoKind::kRead, at + headerBytes + op->rangeOffset, op->payload, length);
    device_->submit(op->parts[0]);
    return Status::kPending;
  }
  op->header.ensure(headerBytes);
  op->fromDevice = true;
  op->head = &op->header.as<RecordHeader>();
  if (op->rangeOffset == 0) {
    op->pending = 1;
    op->parts[0].one(IoKind::kRead, at, op->header.bytes(), headerBytes);
    op->parts[0].iovCount = 2;
    op->parts[0].iov[1] = {op->payload, length};
    device_->submit(op->parts[0]);
  } else {
    op->pending = 2;
    op->parts[0].one(IoKind::kRead, at, op->header.bytes(), headerBytes);
    op->parts[1].one(IoKind::kRead, at + headerBytes + op->rangeOffset, op->payload, length);
    device_->submit(op->parts[0]);
    device_->submit(op->parts[1]);
  }
  return Status::kPending;
}

void Store::readDone(IoRequest* io) {
  ReadOp* op = static_cast<ReadOp::Part*>(io)->op;
  if (io->result != 0) op->error = io->result;
  if (--op->pending == 0) op->store->finishRead(op);
}

void Store::finishRead(ReadOp* op) {
  const RecordHeader& head = *op->head;
  const bool fromDevice = op->fromDevice;
  const uint32_t segmentBlock = static_cast<uint32_t>(op->block - segments_.start(op->segment));
  bool good = op->error == 0;
  if (op->error != 0) ++counters_.readErrors;
  if (good && fromDevice) {
    good = plausibleRecord(head, super_, op->segment, op->generation, segmentBlock) &&
           static_cast<uint64_t>(head.headerBlocks) * kBlockBytes <= op->header.sizeBytes() &&
           goodRecord(head, super_.salt);
    if (good) headers_.put(op->block, head);
  }
  good = good && ec::verifyBlocks(op->payload, op->rangeLength,
                                  checksumsOf(head) + op->rangeOffset / kBlockBytes) < 0;
  // Two keys with one fingerprint: as good as impossible, and then not the key that was asked for.
  const bool other = good && std::memcmp(head.meta.key, op->key.data(), 32) != 0;
  if (good && !other) describeRange(head, op->rangeOffset, op->rangeLength, op->metaOut);
  if (!good) {
    ++counters_.corruptReads;
    markCorrupt(op->print, op->block);
  }
  endRead(op->segment);
  const Done done = op->done;
  const uint64_t length = op->rangeLength;
  freeReads_.push_back(op);
  answer(done, !good ? Status::kCorrupt : other ? Status::kAbsent : Status::kOk, length);
}

Status Store::view(const ReadRequest& request, View& out) {
  if (mapped_ == nullptr) return refuse("device");
  const Fingerprint print = fingerprint(request.key, super_.salt);
  const IndexEntry* best;
  uint64_t length;
  if (const Status status = pick(request, print, best, length); status != Status::kOk)
    return status;
  const uint64_t block = best->block();
  const uint32_t segment = segments_.of(block);
  const uint64_t generation = segments_[segment].generation;
  const uint32_t headerBlocks = best->recordBlocks() - best->shardBlocks;
  ++counters_.reads;
  counters_.readBytes += length;
  const uint64_t at = (block + headerBlocks) * kBlockBytes + request.rangeOffset;
  const RecordHeader* head = headers_.find(block, generation);
  bool good = true;
  if (head == nullptr) {
    head = reinterpret_cast<const RecordHeader*>(mapped_.get() + block * kBlockBytes);
    const auto segmentBlock = static_cast<uint32_t>(block - segments_.start(segment));
    good = plausibleRecord(*head, super_, segment, generation, segmentBlock) &&
           head->headerBlocks <= headerBlocks && goodRecord(*head, super_.salt);
    if (good) headers_.put(block, *head);
  }
  good = good && ec::verifyBlocks(mapped_.get() + at, length,
                                  checksumsOf(*head) + request.rangeOffset / kBlockBytes) < 0;
  if (!good) {
    ++counters_.corruptReads;
    markCorrupt(print, block);
    return Status::kCorrupt;
  }
  if (std::memcmp(head->meta.key, request.key, 32) != 0) return Status::kAbsent;
  describeRange(*head, request.rangeOffset, length, request.metaOut);
  if (freeViews_.empty()) {
    freeViews_.push_back(static_cast<uint32_t>(views_.size()));
    views_.push_back(kNoView);
  }
  out = {at, length, freeViews_.back()};
  freeViews_.pop_back();
  views_[out.id] = segment;
  ++segments_[segment].readers;
  ++inFlight_;
  return Status::kOk;
}

bool Store::endView(uint32_t id) {
  if (id >= views_.size() || views_[id] == kNoView) return false;
  endRead(std::exchange(views_[id], kNoView));
  freeViews_.push_back(id);
  if (--inFlight_ == 0) idle_.notify();
  return true;
}

/** A segment that was given up may be used again when nobody reads it any more. */
void Store::endRead(uint32_t index) {
  Segment& segment = segments_[index];
  if (--segment.readers == 0 && segment.state == SegmentState::kFreed) freeWanted_ = true;
}

void Store::markCorrupt(const Fingerprint& print, uint64_t block) {
  for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
    if (at->kind() == kShard && at->block() == block) at->flags |= kEntryCorrupt;
  }
}

}  // namespace nabu::store
