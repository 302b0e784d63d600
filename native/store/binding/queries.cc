#include <algorithm>

#include "store/binding/arguments.h"
#include "store/binding/store_object.h"

// What is answered from memory.

namespace nabu::store::binding {
namespace {

constexpr uint64_t kMostListed = 1024;

Napi::BigInt big(Napi::Env env, uint64_t value) { return Napi::BigInt::New(env, value); }

Napi::Value bytes(Napi::Env env, const uint8_t* at, size_t length) {
  auto array = Napi::Uint8Array::New(env, length);
  std::copy_n(at, length, array.Data());
  return array;
}

}  // namespace

Napi::Object StoreObject::ownerObject(Napi::Env env, const OwnerState& state) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("generation", big(env, state.fence.generation));
  object.Set("incarnation", big(env, state.fence.incarnation));
  object.Set("homeSetVersion", big(env, state.homeSetVersion));
  object.Set("noteVersion", big(env, state.noteVersion));
  object.Set("note", bytes(env, state.note.data(), state.note.size()));
  return object;
}

// getOwner(owner) -> state | null
Napi::Value StoreObject::getOwner(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto owner = takeBytes(env, info[0], "owner", 16);
  if (!owner) return env.Undefined();
  const OwnerState* state = store_->getOwner(owner->at);
  if (state == nullptr) return env.Null();
  return ownerObject(env, *state);
}

// fenceOf(owner) -> [generation, incarnation]
Napi::Value StoreObject::fenceOf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto owner = takeBytes(env, info[0], "owner", 16);
  if (!owner) return env.Undefined();
  const WriterEpoch fence = store_->fenceOf(owner->at);
  Napi::Array pair = Napi::Array::New(env, 2);
  pair.Set(0U, big(env, fence.generation));
  pair.Set(1U, big(env, fence.incarnation));
  return pair;
}

// listOwners(after | null, limit) -> [[owner, state], ...]
Napi::Value StoreObject::listOwners(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto limit = takeNumber(env, info[1], "limit");
  if (!limit) return env.Undefined();
  const auto& all = store_->owners().all();
  auto at = all.begin();
  if (!info[0].IsNull()) {
    const auto after = takeBytes(env, info[0], "after", 16);
    if (!after) return env.Undefined();
    Id16 id;
    std::copy_n(after->at, 16, id.begin());
    at = all.upper_bound(id);
  }
  Napi::Array list = Napi::Array::New(env);
  const uint64_t most = std::min(*limit, kMostListed);
  for (uint32_t count = 0; at != all.end() && count < most; ++at) {
    if (!at->second->hasState) continue;
    Napi::Array pair = Napi::Array::New(env, 2);
    pair.Set(0U, bytes(env, at->first.data(), 16));
    pair.Set(1U, ownerObject(env, at->second->state));
    list.Set(count++, pair);
  }
  return list;
}

// listDegraded(key | null, stripeId | null, limit) -> [{key, stripeId, missingMask}, ...]
Napi::Value StoreObject::listDegraded(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto limit = takeNumber(env, info[2], "limit");
  if (!limit) return env.Undefined();
  const auto& all = store_->degraded();
  auto at = all.begin();
  if (!info[0].IsNull()) {
    const auto key = takeBytes(env, info[0], "key", 32);
    if (!key) return env.Undefined();
    const auto stripe = takeBytes(env, info[1], "stripeId", 16);
    if (!stripe) return env.Undefined();
    at = all.upper_bound(store_->stripeName(key->at, stripe->at));
  }
  Napi::Array list = Napi::Array::New(env);
  const uint64_t most = std::min(*limit, kMostListed);
  for (uint32_t count = 0; at != all.end() && count < most; ++at, ++count) {
    Napi::Object mark = Napi::Object::New(env);
    mark.Set("key", bytes(env, at->second.key.data(), 32));
    mark.Set("stripeId", bytes(env, at->first.stripeId.data(), 16));
    mark.Set("missingMask", at->second.missingMask);
    list.Set(count, mark);
  }
  return list;
}

Napi::Value StoreObject::identity(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const Superblock& super = store_->super();
  Napi::Object object = Napi::Object::New(env);
  object.Set("clusterId", bytes(env, super.clusterId, 16));
  object.Set("nodeId", Napi::String::New(env, super.nodeId));
  object.Set("deviceId", bytes(env, super.deviceId, 16));
  object.Set("incarnation", big(env, super.incarnation));
  object.Set("createdStamp", big(env, super.createdStamp));
  object.Set("completeSince", big(env, super.completeSince));
  object.Set("fencesComplete", Napi::Boolean::New(env, super.fencesComplete != 0));
  return object;
}

Napi::Value StoreObject::stats(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const Stats stats = store_->stats();
  Napi::Object object = Napi::Object::New(env);
  const auto set = [&](Napi::Object& to, const char* name, uint64_t value) {
    to.Set(name, static_cast<double>(value));
  };
  object.Set("state", stats.state == StoreState::kOk         ? "ok"
                      : stats.state == StoreState::kFull     ? "full"
                      : stats.state == StoreState::kReadOnly ? "read-only"
                                                             : "failed");
  set(object, "capacityBytes", stats.capacityBytes);
  set(object, "usedBytes", stats.usedBytes);
  set(object, "liveBytes", stats.liveBytes);
  set(object, "freeBytes", stats.freeBytes);
  set(object, "segments", stats.segments);
  set(object, "freeSegments", stats.freeSegments);
  set(object, "segmentBytes", stats.segmentBytes);
  set(object, "shards", stats.shards);
  set(object, "tombstones", stats.tombstones);
  set(object, "owners", stats.owners);
  set(object, "degraded", stats.degraded);
  Napi::Object counters = Napi::Object::New(env);
  const Counters& c = store_->counters();
  set(counters, "appends", c.appends);
  set(counters, "appendBytes", c.appendBytes);
  set(counters, "duplicates", c.duplicates);
  set(counters, "deletedAppends", c.deletedAppends);
  set(counters, "fenced", c.fenced);
  set(counters, "reads", c.reads);
  set(counters, "readBytes", c.readBytes);
  set(counters, "lookups", c.lookups);
  set(counters, "deletes", c.deletes);
  set(counters, "ownerDeletes", c.ownerDeletes);
  set(counters, "corruptReads", c.corruptReads);
  set(counters, "checksumRefusals", c.checksumRefusals);
  set(counters, "readErrors", c.readErrors);
  set(counters, "writeErrors", c.writeErrors);
  set(counters, "fullRefusals", c.fullRefusals);
  set(counters, "flushes", c.flushes);
  set(counters, "checkpoints", c.checkpoints);
  set(counters, "checkpointFailures", c.checkpointFailures);
  set(counters, "segmentsSealed", c.segmentsSealed);
  set(counters, "segmentsFreed", c.segmentsFreed);
  set(counters, "segmentsPrepared", c.segmentsPrepared);
  set(counters, "compactedSegments", c.compactedSegments);
  set(counters, "compactedBytes", c.compactedBytes);
  set(counters, "sweptShards", c.sweptShards);
  set(counters, "expiredTombstones", c.expiredTombstones);
  set(counters, "lostRanges", c.lostRanges);
  set(counters, "rebuiltRecords", c.rebuiltRecords);
  set(counters, "tornRecords", c.tornRecords);
  set(counters, "openMs", c.openMs);
  set(counters, "indexBytes", stats.indexBytes);
  set(counters, "inFlight", stats.inFlight);
  object.Set("counters", counters);
  return object;
}

// detail() -> the field that the last kBadArgument was about
Napi::Value StoreObject::detail(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  return Napi::String::New(env, store_->detail());
}

}  // namespace nabu::store::binding
