#include <algorithm>

#include "store/operations.h"

// Records without payload: tombstones, owner tombstones, owner state, degraded marks.

namespace nabu::store {

Store::SmallWrite* Store::newSmall(const ShardMeta& meta, const void* body, uint32_t bodyLength,
                                   SpaceClass space) {
  auto* write = new SmallWrite();  // owned by its completion, below
  write->store = this;
  write->header.ensure(kBlockBytes);
  RecordHeader& head = write->head();
  head.meta = meta;
  head.meta.magic = kShardMetaMagic;
  head.meta.version = kShardMetaVersion;
  head.bodyLength = bodyLength;
  if (bodyLength > 0) std::memcpy(&head + 1, body, bodyLength);
  write->headerBlockCount = 1;
  write->space = space;
  write->footer = footerEntryOf(head.meta, fingerprint(head.meta.key, super_.salt));
  write->ended = [](RecordWrite* record) {
    const std::unique_ptr<SmallWrite> self(static_cast<SmallWrite*>(record));
    Store& store = *self->store;
    if (self->then != nullptr) (store.*self->then)(self.get());
  };
  return write;
}

Status Store::smallResult(const SmallWrite& write) const {
  if (write.result == 0) return Status::kOk;
  if (write.result == -ECANCELED) return Status::kClosed;
  if (write.result == -ENOSPC) return Status::kFull;
  return readOnly_ ? Status::kReadOnly : Status::kFailed;
}

/** Checks what any change needs: kOk and one more in flight, or the reason. */
Status Store::admitSmall() {
  if (const Status status = writable(); status != Status::kOk) return status;
  if (inFlight_ >= options_.maxInFlight) return Status::kQueueFull;
  return admit(1, SpaceClass::kSystem);
}

Status Store::remove(const uint8_t* key, uint64_t stamp, Done done) {
  if (const Status status = admitSmall(); status != Status::kOk) return status;
  const Fingerprint print = fingerprint(key, super_.salt);
  if (stamp == 0) return refuse("stamp");
  if (tombstoneStamp(print) >= stamp) return Status::kOk;
  ++counters_.deletes;
  ShardMeta meta{};
  meta.kind = kTombstone;
  meta.stamp = stamp;
  std::memcpy(meta.key, key, 32);
  SmallWrite* write = newSmall(meta, nullptr, 0, SpaceClass::kSystem);
  write->done = done;
  write->then = &Store::tombstoneDurable;
  ++inFlight_;
  submitRecord(write);
  return Status::kPending;
}

void Store::tombstoneDurable(SmallWrite* write) {
  if (write->result == 0) {
    const Fingerprint print{write->footer.hash, write->footer.tag};
    applyTombstone(print, write->footer.stamp, write->block);
  }
  answer(write->done, smallResult(*write));
}

uint32_t encodeOwnerRule(const OwnerRule& rule, uint8_t* body) {
  OwnerRangeBody range{};
  range.generation = rule.generation.value_or(0);
  range.incarnation = rule.incarnation.value_or(0);
  range.hasGeneration = rule.generation.has_value();
  range.hasIncarnation = rule.incarnation.has_value();
  range.fromSequence = rule.range.from;
  range.toSequence = rule.range.to;
  range.pinCount = static_cast<uint16_t>(rule.pins.size());
  std::memcpy(body, &range, sizeof range);
  if (!rule.pins.empty()) std::memcpy(body + sizeof range, rule.pins.data(), rule.pins.size() * 16);
  return static_cast<uint32_t>(sizeof range + rule.pins.size() * 16);
}

Store::SmallWrite* Store::ruleWrite(const Owner& owner, const OwnerRule& rule, SpaceClass space) {
  ShardMeta meta{};
  meta.kind = kOwnerTombstone;
  meta.stamp = rule.stamp;
  std::copy_n(owner.id.begin(), 16, meta.owner);
  uint8_t body[sizeof(OwnerRangeBody) + kMaxPins * 16];
  SmallWrite* write = newSmall(meta, body, encodeOwnerRule(rule, body), space);
  write->owner = owner.id;
  write->rule = rule;
  return write;
}

Status Store::removeOwnerRange(const uint8_t* owner, OwnerRule rule, Done done) {
  if (const Status status = admitSmall(); status != Status::kOk) return status;
  if (allZero(owner, 16)) return refuse("owner");
  if (rule.stamp == 0) return refuse("stamp");
  if (rule.range.from > rule.range.to) return refuse("range");
  if (rule.pins.size() > kMaxPins) return refuse("pins");
  Owner& known = owners_.get(owner);
  if (known.rules.size() >= kMaxRulesPerOwner) return refuse("range: too many of this owner");
  ++counters_.ownerDeletes;
  SmallWrite* write = ruleWrite(known, rule, SpaceClass::kSystem);
  write->done = done;
  write->then = &Store::ruleDurable;
  ++inFlight_;
  submitRecord(write);
  return Status::kPending;
}

void Store::ruleDurable(SmallWrite* write) {
  if (write->result == 0) {
    write->rule.block = write->block;
    addRule(owners_.get(write->owner.data()), std::move(write->rule));
  }
  answer(write->done, smallResult(*write));
}

Store::SmallWrite* Store::ownerWrite(const Owner& owner, const OwnerState& state,
                                     SpaceClass space) {
  ShardMeta meta{};
  meta.kind = kOwnerState;
  std::copy_n(owner.id.begin(), 16, meta.owner);
  meta.writerGeneration = state.fence.generation;
  meta.writerIncarnation = state.fence.incarnation;
  meta.homeSetVersion = state.homeSetVersion;
  OwnerStateBody fixed{};
  fixed.fenceGeneration = state.fence.generation;
  fixed.fenceIncarnation = state.fence.incarnation;
  fixed.homeSetVersion = state.homeSetVersion;
  fixed.noteVersion = state.noteVersion;
  fixed.noteLength = static_cast<uint32_t>(state.note.size());
  std::vector<uint8_t> body(sizeof fixed + state.note.size());
  std::memcpy(body.data(), &fixed, sizeof fixed);
  if (!state.note.empty())
    std::memcpy(body.data() + sizeof fixed, state.note.data(), state.note.size());
  SmallWrite* write = newSmall(meta, body.data(), static_cast<uint32_t>(body.size()), space);
  write->owner = owner.id;
  write->state = state;
  write->then = &Store::ownerDurable;
  return write;
}

Status Store::setOwner(const uint8_t* id, const OwnerUpdate& update, Done done) {
  if (const Status status = admitSmall(); status != Status::kOk) return status;
  if (allZero(id, 16)) return refuse("owner");
  if (update.note.size() > kMaxNoteBytes) return refuse("note");
  Owner& owner = owners_.get(id);
  OwnerState next = owner.next;
  const bool current = update.fence >= next.fence;
  next.fence = std::max(next.fence, update.fence);
  next.homeSetVersion = std::max(next.homeSetVersion, update.homeSetVersion);
  const uint64_t version = update.noteVersion.value_or(next.noteVersion + 1);
  if (update.hasNote && current && version > next.noteVersion) {
    next.noteVersion = version;
    next.note = update.note;
  }
  const bool changed = !owner.hasState || next.fence != owner.next.fence ||
                       next.homeSetVersion != owner.next.homeSetVersion ||
                       next.noteVersion != owner.next.noteVersion;
  owner.next = next;  // refuses lower log appends from here on
  ++inFlight_;
  ownerWaiters_.push_back({owner.id, next.fence, next.homeSetVersion, next.noteVersion, done});
  if (changed) {
    submitRecord(ownerWrite(owner, next, SpaceClass::kSystem));
  } else {
    ownerWanted_ = true;  // nothing to write, perhaps something to wait for; answered from poll
  }
  return Status::kPending;
}

void Store::ownerDurable(SmallWrite* write) {
  Owner& owner = owners_.get(write->owner.data());
  if (write->result != 0) {
    const Status status = smallResult(*write);
    std::vector<Done> failed;
    std::erase_if(ownerWaiters_, [&](const OwnerWaiter& waiter) {
      if (waiter.owner != write->owner || waiter.reached(owner.state)) return false;
      failed.push_back(waiter.done);
      return true;
    });
    const auto parked = awaitingFence_.extract(write->owner);
    if (!parked.empty()) {
      for (AppendWrite* append : parked.mapped()) finishAppend(append, status);
    }
    for (const Done& done : failed) answer(done, status);
    return;
  }
  // Records of one owner may end in another order than they were written: a later one says all that
  // this one does.
  if (!owner.hasState || write->recordSequence > owner.stateSequence) {
    owner.stateSequence = write->recordSequence;
    setOwnerState(owner, write->state, write->block);
  }
  const auto parked = awaitingFence_.find(write->owner);
  if (parked != awaitingFence_.end()) {
    std::vector<AppendWrite*> ready;
    std::erase_if(parked->second, [&](AppendWrite* append) {
      if (owner.state.fence < append->epoch) return false;
      ready.push_back(append);
      return true;
    });
    if (parked->second.empty()) awaitingFence_.erase(parked);
    for (AppendWrite* append : ready) finishAppend(append, insertShard(append));
  }
  ownerProgress(owner);
}

/** Ends those setOwner calls whose state is durable and below whose fence no append is in flight
 * any more. */
void Store::ownerProgress(Owner& owner) {
  if (ownerWaiters_.empty()) return;
  std::vector<Done> ended;
  std::erase_if(ownerWaiters_, [&](const OwnerWaiter& waiter) {
    if (waiter.owner != owner.id || !owner.hasState || !waiter.reached(owner.state) ||
        owner.appendingBelow(waiter.fence)) {
      return false;
    }
    ended.push_back(waiter.done);
    return true;
  });
  for (const Done& done : ended) answer(done, Status::kOk);
}

const OwnerState* Store::getOwner(const uint8_t* id) {
  const Owner* owner = owners_.find(id);
  return owner != nullptr && owner->hasState ? &owner->state : nullptr;
}

WriterEpoch Store::fenceOf(const uint8_t* id) {
  const Owner* owner = owners_.find(id);
  return owner != nullptr ? owner->next.fence : WriterEpoch{};
}

Store::SmallWrite* Store::markWrite(const DegradedMark& mark, const uint8_t* stripeId,
                                    SpaceClass space) {
  ShardMeta meta{};
  meta.kind = kDegradedMark;
  std::copy_n(mark.key.begin(), 32, meta.key);
  std::memcpy(meta.stripeId, stripeId, 16);
  meta.missingMask = mark.missingMask;
  SmallWrite* write = newSmall(meta, nullptr, 0, space);
  write->mark = mark;
  write->stripe = stripeName(mark.key.data(), stripeId);
  write->then = &Store::markDurable;
  return write;
}

Status Store::markDegraded(const uint8_t* key, const uint8_t* stripeId, uint32_t missingMask,
                           Done done) {
  if (const Status status = admitSmall(); status != Status::kOk) return status;
  const StripeName name = stripeName(key, stripeId);
  const auto found = degraded_.find(name);
  if (missingMask == 0 && found == degraded_.end()) return Status::kOk;
  DegradedMark mark;
  std::copy_n(key, 32, mark.key.begin());
  mark.missingMask = missingMask;
  SmallWrite* write = markWrite(mark, stripeId, SpaceClass::kSystem);
  write->done = done;
  ++inFlight_;
  submitRecord(write);
  return Status::kPending;
}

void Store::markDurable(SmallWrite* write) {
  if (write->result == 0) {
    write->mark.block = write->block;
    applyMark(write->stripe, write->mark);
  }
  if (write->done.call != nullptr) answer(write->done, smallResult(*write));
}

/** A cleared mark stays nowhere: after a rebuild without a checkpoint an old one may come back, and
 * repair looks again. */
void Store::applyMark(const StripeName& name, const DegradedMark& mark) {
  const Fingerprint print{name.hash, name.tag};
  for (IndexEntry* at = index_.first(print); at != nullptr; at = index_.next(at)) {
    if (at->kind() != kShard || std::memcmp(at->stripeId, name.stripeId.data(), 16) != 0) continue;
    if (mark.missingMask == 0) {
      at->flags &= static_cast<uint8_t>(~kEntryDegraded);
    } else {
      at->flags |= kEntryDegraded;
    }
  }
  if (mark.missingMask == 0) {
    dropMark(name);
  } else {
    setMark(name, mark);
  }
}

}  // namespace nabu::store
