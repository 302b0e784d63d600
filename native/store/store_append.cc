#include <algorithm>

#include "ec/crc32c.h"
#include "store/operations.h"

namespace nabu::store {

Store::AppendWrite* Store::takeAppend() {
  if (freeAppends_.empty()) {
    appendPool_.push_back(std::make_unique<AppendWrite>());
    freeAppends_.push_back(appendPool_.back().get());
  }
  AppendWrite* write = freeAppends_.back();
  freeAppends_.pop_back();
  return write;
}

Status Store::append(const uint8_t* meta, uint64_t metaRoom, const uint8_t* payload,
                     uint64_t payloadRoom, Done done) {
  if (const Status status = writable(); status != Status::kOk) return status;
  if (metaRoom < sizeof(ShardMeta)) return refuse("meta");
  ShardMeta shard;
  std::memcpy(&shard, meta, sizeof shard);
  if (const char* flaw = flawOf(shard)) return refuse(flaw);
  const uint32_t bodyLength = 4 * shard.crcCount;
  if (metaRoom < sizeof(ShardMeta) + bodyLength) return refuse("meta");
  if (payloadRoom < shard.shardLength) return refuse("payload");
  if (reinterpret_cast<uintptr_t>(payload) % kBlockBytes != 0) return refuse("payload");
  const bool log = (shard.flags & kFlagLog) != 0;
  if (log && allZero(shard.owner, 16)) return refuse("owner");
  if (inFlight_ >= options_.maxInFlight) return Status::kQueueFull;

  const Fingerprint print = fingerprint(shard.key, super_.salt);
  const WriterEpoch epoch{shard.writerGeneration, shard.writerIncarnation};
  Owner* owner = owners_.find(shard.owner);
  if (log && owner != nullptr && epoch < owner->next.fence) {
    ++counters_.fenced;
    return Status::kFenced;
  }
  if (buried(print, shard.stamp) ||
      (owner != nullptr && owner->covered(epoch, shard.sequence, log, shard.stamp))) {
    ++counters_.deletedAppends;
    return Status::kDeleted;
  }
  const IndexEntry* held = findShard(print, shard.stripeId, shard.shardIndex);
  if (held != nullptr && (held->flags & kEntryCorrupt) == 0) {
    ++counters_.duplicates;
    return Status::kExists;
  }
  const uint32_t headerBlocks = headerBlocksFor(bodyLength);
  const uint32_t payloadCount = shard.shardLength / kBlockBytes;
  if (const Status status = admit(headerBlocks + payloadCount, SpaceClass::kUser);
      status != Status::kOk) {
    return status;
  }
  // The meta's place in a slab is only byte aligned: checksums are compared from the copy in the
  // header.
  AppendWrite* write = takeAppend();
  write->header.ensure(static_cast<uint64_t>(headerBlocks) * kBlockBytes);
  std::memset(write->header.bytes(), 0, static_cast<size_t>(headerBlocks) * kBlockBytes);
  RecordHeader& head = write->head();
  head.meta = shard;
  head.bodyLength = bodyLength;
  auto* crcs = reinterpret_cast<uint32_t*>(&head + 1);
  std::memcpy(crcs, meta + sizeof(ShardMeta), bodyLength);
  if (ec::verifyBlocks(payload, shard.shardLength, crcs) >= 0) {
    freeAppends_.push_back(write);
    ++counters_.checksumRefusals;
    return Status::kChecksum;
  }

  write->name = {print.hash, print.tag, {}, shard.shardIndex};
  std::copy_n(shard.stripeId, 16, write->name.stripeId.begin());
  const auto [same, isNew] = appending_.try_emplace(write->name, write);
  ++inFlight_;
  if (!isNew) {
    freeAppends_.push_back(write);
    same->second->others.push_back(done);
    return Status::kPending;
  }
  write->store = this;
  write->payload = payload;
  write->headerBlockCount = headerBlocks;
  write->payloadBlockCount = payloadCount;
  write->space = SpaceClass::kUser;
  write->footer = footerEntryOf(shard, print);
  write->epoch = epoch;
  write->log = log;
  write->onDevice = false;
  std::copy_n(shard.owner, 16, write->owner.begin());
  write->done = done;
  write->others.clear();
  write->ended = [](RecordWrite* record) {
    auto* self = static_cast<AppendWrite*>(record);
    self->store->appendDurable(self);
  };
  ++counters_.appends;
  counters_.appendBytes += shard.shardLength;
  if (log) {
    Owner& known = owners_.get(shard.owner);
    ++known.appending[epoch];
    if (known.next.fence < epoch) {
      // The first of a new writer: its fence becomes durable beside it, and is waited for.
      OwnerState raised = known.next;
      raised.fence = epoch;
      raised.homeSetVersion = std::max(raised.homeSetVersion, shard.homeSetVersion);
      known.next = raised;
      SmallWrite* fence = ownerWrite(known, raised, SpaceClass::kSystem);
      submitRecord(fence);
    }
  }
  submitRecord(write);
  return Status::kPending;
}

void Store::appendDurable(AppendWrite* write) {
  if (write->result != 0) {
    finishAppend(write, write->result == -ENOSPC      ? Status::kFull
                        : write->result == -ECANCELED ? Status::kClosed
                        : readOnly_                   ? Status::kReadOnly
                                                      : Status::kFailed);
    return;
  }
  write->onDevice = true;
  if (write->log) {
    const Owner* owner = owners_.find(write->owner.data());
    if (owner->state.fence < write->epoch) {
      if (failed_ || readOnly_) {
        finishAppend(write, writable());
      } else {
        awaitingFence_[write->owner].push_back(write);
      }
      return;
    }
  }
  finishAppend(write, insertShard(write));
}

/** The record is durable; what became of its shard meanwhile decides. */
Status Store::insertShard(AppendWrite* write) {
  const FooterEntry& footer = write->footer;
  const Fingerprint print{footer.hash, footer.tag};
  const Owner* owner = owners_.find(write->owner.data());
  if (buried(print, footer.stamp) ||
      (owner != nullptr &&
       owner->covered(write->epoch, footer.sequence, write->log, footer.stamp))) {
    ++counters_.deletedAppends;
    return Status::kDeleted;
  }
  if (IndexEntry* stale = findShard(print, footer.stripeId, footer.shardIndex)) dropEntry(stale);
  putShard(footer, write->block, write->head().meta.key);
  headers_.put(write->block, write->head());
  return Status::kOk;
}

void Store::finishAppend(AppendWrite* write, Status status) {
  if (write->log) {
    Owner& owner = owners_.get(write->owner.data());
    const auto count = owner.appending.find(write->epoch);
    if (--count->second == 0) owner.appending.erase(count);
    ownerProgress(owner);
  }
  appending_.erase(write->name);
  write->onDevice = false;
  const Done done = write->done;
  const std::vector<Done> others = std::move(write->others);
  freeAppends_.push_back(write);
  answer(done, status);
  const Status forOthers = status == Status::kOk ? Status::kExists : status;
  for (const Done& other : others) answer(other, forOthers);
}

void Store::answer(const Done& done, Status status, uint64_t value) {
  --inFlight_;
  done(status, value);
  if (inFlight_ == 0) idle_.notify();
}

}  // namespace nabu::store
