#include <algorithm>

#include "store/binding/arguments.h"
#include "store/binding/store_object.h"

// The calls that change or read; each is checked here and decided in the core.

namespace nabu::store::binding {
namespace {

// Room of an answer to lookup; engine/store/lookup-codec.ts reads it.
constexpr size_t kAnswerBytes = 16;
constexpr size_t kShardBytes = 40;

}  // namespace

// append(token, metaOffset, payloadOffset)
Napi::Value StoreObject::append(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto meta = takeNumber(env, info[1], "metaOffset");
  if (!meta) return env.Undefined();
  const auto payload = takeNumber(env, info[2], "payloadOffset");
  if (!payload) return env.Undefined();
  if (*meta >= slabLength_ || *payload >= slabLength_ || slab_.Value().IsDetached()) {
    throwBadArgument(env, "metaOffset", "and payloadOffset must lie in the slab");
    return env.Undefined();
  }
  const Status status =
      store_->append(slabBytes_ + *meta, slabLength_ - *meta, slabBytes_ + *payload,
                     slabLength_ - *payload, done(static_cast<uint32_t>(*token)));
  return startedAndPolled(env, status, static_cast<int32_t>(*token));
}

// key, stripeId | null, shardIndex, rangeOffset, rangeLength, askStamp
bool StoreObject::takeSelection(const Napi::CallbackInfo& info, size_t first,
                                ReadRequest& request) {
  const Napi::Env env = info.Env();
  const auto key = takeBytes(env, info[first], "key", 32);
  if (!key) return false;
  request.key = key->at;
  if (!info[first + 1].IsNull()) {
    const auto stripe = takeBytes(env, info[first + 1], "stripeId", 16);
    if (!stripe) return false;
    request.stripeId = stripe->at;
  }
  uint64_t numbers[3];
  constexpr const char* kNames[3] = {"shardIndex", "rangeOffset", "rangeLength"};
  for (size_t i = 0; i < 3; ++i) {
    const auto number = takeNumber(env, info[first + 2 + i], kNames[i]);
    if (!number) return false;
    numbers[i] = *number;
  }
  const auto ask = takeU64(env, info[first + 5], "askStamp");
  if (!ask) return false;
  if (numbers[0] > 255) {
    throwBadArgument(env, "shardIndex", "must be 0 to 255");
    return false;
  }
  request.shardIndex = static_cast<uint8_t>(numbers[0]);
  request.rangeOffset = numbers[1];
  request.rangeLength = numbers[2];
  request.askStamp = *ask;
  return true;
}

// read(token, ...selection, payloadOffset, payloadCapacity, metaOutOffset)
Napi::Value StoreObject::read(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  ReadRequest request;
  if (!takeSelection(info, 1, request)) return env.Undefined();
  const auto payload = takeNumber(env, info[7], "payloadOffset");
  if (!payload) return env.Undefined();
  const auto capacity = takeNumber(env, info[8], "payloadCapacity");
  if (!capacity) return env.Undefined();
  const auto metaOut = takeNumber(env, info[9], "metaOutOffset");
  if (!metaOut) return env.Undefined();
  if (*payload > slabLength_ || *capacity > slabLength_ - *payload || *metaOut > slabLength_ ||
      slab_.Value().IsDetached()) {
    throwBadArgument(env, "payloadOffset",
                     "payloadCapacity and metaOutOffset must lie in the slab");
    return env.Undefined();
  }
  request.payload = slabBytes_ + *payload;
  request.payloadCapacity = *capacity;
  request.metaOut = slabBytes_ + *metaOut;
  request.metaCapacity = slabLength_ - *metaOut;
  return started(env, store_->read(request, done(static_cast<uint32_t>(*token))));
}

// view(...selection, meta: Uint8Array, out: Float64Array [offset on the device, lengthBytes, view
// id]) -> status
Napi::Value StoreObject::view(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  ReadRequest request;
  if (!takeSelection(info, 0, request)) return env.Undefined();
  const auto meta = takeBytes(env, info[6], "meta");
  if (!meta) return env.Undefined();
  request.metaOut = const_cast<uint8_t*>(meta->at);
  request.metaCapacity = meta->length;
  if (!info[7].IsTypedArray() ||
      info[7].As<Napi::TypedArray>().TypedArrayType() != napi_float64_array ||
      info[7].As<Napi::TypedArray>().ElementLength() < 3) {
    throwBadArgument(env, "out", "must be a Float64Array of 3");
    return env.Undefined();
  }
  View found;
  const Status status = store_->view(request, found);
  if (status == Status::kOk) {
    double* out = info[7].As<Napi::Float64Array>().Data();
    out[0] = static_cast<double>(found.offset);
    out[1] = static_cast<double>(found.lengthBytes);
    out[2] = found.id;
  }
  return Napi::Number::New(env, static_cast<int>(status));
}

// endView(id)
Napi::Value StoreObject::endView(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!store_) return env.Undefined();  // it ended without waiting for its views: as a crash
  const auto id = takeNumber(env, info[0], "id");
  if (!id) return env.Undefined();
  if (*id > UINT32_MAX || !store_->endView(static_cast<uint32_t>(*id))) {
    throwBadArgument(env, "id", "names no view");
    return env.Undefined();
  }
  if (!delivering_) driver_->update(pending_ > 0 || !results_.empty());
  return env.Undefined();
}

// memory() -> ArrayBuffer of the whole device, or null when it is none. Only to be read. Keeps the
// memory for as long as it lives itself.
Napi::Value StoreObject::memory(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  auto bytes = store_->device().mapped();
  if (bytes == nullptr) return env.Null();
  using Held = std::shared_ptr<const uint8_t[]>;
  auto held = std::make_unique<Held>(bytes);
  const auto buffer = Napi::ArrayBuffer::New(
      env, const_cast<uint8_t*>(bytes.get()), store_->device().sizeBytes(),
      [](Napi::Env, void*, Held* owned) { std::unique_ptr<Held>{owned}; }, held.get());
  if (env.IsExceptionPending()) return env.Undefined();
  held.release();  // the finalizer owns it now
  return buffer;
}

// lookup(keys: Uint8Array(32 * n), askStamp, out: Uint8Array) -> bytes written, or -(bytes needed)
Napi::Value StoreObject::lookup(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto keys = takeBytes(env, info[0], "keys");
  if (!keys) return env.Undefined();
  const auto ask = takeU64(env, info[1], "askStamp");
  if (!ask) return env.Undefined();
  const auto out = takeBytes(env, info[2], "out");
  if (!out) return env.Undefined();
  const size_t count = keys->length / 32;
  for (size_t i = 0; i < count; ++i) store_->prefetch(keys->at + 32 * i);
  std::vector<ShardSummary> shards;
  auto* at = const_cast<uint8_t*>(out->at);
  size_t used = 0;
  for (size_t i = 0; i < count; ++i) {
    shards.clear();
    uint64_t deletedStamp = 0;
    const Status status = store_->lookup(keys->at + 32 * i, *ask, shards, deletedStamp);
    const size_t length = kAnswerBytes + shards.size() * kShardBytes;
    if (used + length <= out->length) {
      uint8_t* head = at + used;
      std::memset(head, 0, length);
      head[0] = static_cast<uint8_t>(status);
      const auto found = static_cast<uint32_t>(shards.size());
      std::memcpy(head + 4, &found, 4);
      std::memcpy(head + 8, &deletedStamp, 8);
      for (size_t s = 0; s < shards.size(); ++s) {
        uint8_t* shard = head + kAnswerBytes + s * kShardBytes;
        std::memcpy(shard, shards[s].stripeId, 16);
        std::memcpy(shard + 16, &shards[s].stamp, 8);
        std::memcpy(shard + 24, &shards[s].blobLength, 4);
        std::memcpy(shard + 28, &shards[s].shardLength, 4);
        shard[32] = shards[s].shardIndex;
        shard[33] = shards[s].k;
        shard[34] = shards[s].m;
      }
    }
    used += length;
  }
  const double result = static_cast<double>(used);
  return Napi::Number::New(env, used <= out->length ? result : -result);
}

// remove(token, key, stamp)
Napi::Value StoreObject::remove(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto key = takeBytes(env, info[1], "key", 32);
  if (!key) return env.Undefined();
  const auto stamp = takeU64(env, info[2], "stamp");
  if (!stamp) return env.Undefined();
  return started(env, store_->remove(key->at, *stamp, done(static_cast<uint32_t>(*token))));
}

// removeOwnerRange(token, owner, BigUint64Array [stamp, hasGeneration, generation, hasIncarnation,
// incarnation, from, to, pin from, pin to, ...])
Napi::Value StoreObject::removeOwnerRange(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto owner = takeBytes(env, info[1], "owner", 16);
  if (!owner) return env.Undefined();
  size_t length = 0;
  const auto values = takeU64s(env, info[2], "range", 7, length);
  if (!values) return env.Undefined();
  const uint64_t* v = *values;
  OwnerRule rule;
  rule.stamp = v[0];
  if (v[1] != 0) rule.generation = v[2];
  if (v[3] != 0) rule.incarnation = v[4];
  rule.range = {v[5], v[6]};
  for (size_t i = 7; i + 1 < length; i += 2) rule.pins.push_back({v[i], v[i + 1]});
  return started(env, store_->removeOwnerRange(owner->at, std::move(rule),
                                               done(static_cast<uint32_t>(*token))));
}

// setOwner(token, owner, BigUint64Array [generation, incarnation, homeSetVersion, hasNoteVersion,
// noteVersion], note | null)
Napi::Value StoreObject::setOwner(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto owner = takeBytes(env, info[1], "owner", 16);
  if (!owner) return env.Undefined();
  size_t length = 0;
  const auto values = takeU64s(env, info[2], "update", 5, length);
  if (!values) return env.Undefined();
  const uint64_t* v = *values;
  OwnerUpdate update;
  update.fence = {v[0], v[1]};
  update.homeSetVersion = v[2];
  if (v[3] != 0) update.noteVersion = v[4];
  if (!info[3].IsNull()) {
    const auto note = takeBytes(env, info[3], "note");
    if (!note) return env.Undefined();
    update.hasNote = true;
    update.note.assign(note->at, note->at + note->length);
  }
  return started(env, store_->setOwner(owner->at, update, done(static_cast<uint32_t>(*token))));
}

// markDegraded(token, key, stripeId, missingMask)
Napi::Value StoreObject::markDegraded(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto key = takeBytes(env, info[1], "key", 32);
  if (!key) return env.Undefined();
  const auto stripe = takeBytes(env, info[2], "stripeId", 16);
  if (!stripe) return env.Undefined();
  const auto mask = takeNumber(env, info[3], "missingMask");
  if (!mask) return env.Undefined();
  return started(env, store_->markDegraded(key->at, stripe->at, static_cast<uint32_t>(*mask),
                                           done(static_cast<uint32_t>(*token))));
}

// setFencesComplete(token)
Napi::Value StoreObject::setFencesComplete(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  return started(env, store_->setFencesComplete(done(static_cast<uint32_t>(*token))));
}

// setCompleteSince(token, stamp)
Napi::Value StoreObject::setCompleteSince(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  const auto stamp = takeU64(env, info[1], "stamp");
  if (!stamp) return env.Undefined();
  return started(env, store_->setCompleteSince(*stamp, done(static_cast<uint32_t>(*token))));
}

// checkpoint(token)
Napi::Value StoreObject::checkpoint(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  return started(env, store_->checkpoint(done(static_cast<uint32_t>(*token))));
}

// close(token)
Napi::Value StoreObject::close(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!usable(env)) return env.Undefined();
  const auto token = takeNumber(env, info[0], "token");
  if (!token) return env.Undefined();
  ++pending_;  // the answer may come at once
  store_->close(done(static_cast<uint32_t>(*token)));
  --pending_;
  return started(env, Status::kPending);
}

}  // namespace nabu::store::binding
