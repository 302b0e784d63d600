#include <memory>

#include "volume/binding/errors.h"
#include "volume/binding/volume_object.h"

namespace nabu::volume::binding {

Napi::Value VolumeObject::loadRoot(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "loadRoot")) return env.Undefined();
  const auto range = slab_.range(env, info[0], info[1]);
  if (!range) return env.Undefined();
  auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  volume_->loadRoot(*range, [env, deferred](Result<RootRecord> root, std::uint64_t known) {
    const Napi::HandleScope scope(env);
    if (!root.ok()) {
      rejectWith(env, deferred, root.error());
      return;
    }
    Napi::Object o = Napi::Object::New(env);
    o.Set("coveredSequence", toBigInt(env, root.value().coveredSequence));
    o.Set("sizeBytes", static_cast<double>(root.value().volumeBytes));
    o.Set("knownSequences", static_cast<double>(known));
    deferred->Resolve(o);
  });
  return deferred->Promise();
}

Napi::Value VolumeObject::applyImage(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "applyImage")) return env.Undefined();
  const auto range = slab_.range(env, info[0], info[1]);
  if (!range) return env.Undefined();
  auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  volume_->applyImage(*range, [env, deferred](Status status) {
    const Napi::HandleScope scope(env);
    if (status.ok()) {
      deferred->Resolve(env.Undefined());
    } else {
      rejectWith(env, deferred, status.error());
    }
  });
  return deferred->Promise();
}

// (generation, incarnation) -> {throughSequence, images: Float64Array of sequence, bytes, ...}
Napi::Value VolumeObject::resumeJournal(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "resumeJournal")) return env.Undefined();
  const auto generation = bigint(env, info[0], "generation");
  const auto incarnation = generation ? bigint(env, info[1], "incarnation") : std::nullopt;
  if (!incarnation) return env.Undefined();
  auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  volume_->resumeJournal({*generation, *incarnation}, [env, deferred](Result<Volume::Resumed> got) {
    const Napi::HandleScope scope(env);
    if (!got.ok()) {
      rejectWith(env, deferred, got.error());
      return;
    }
    const auto& images = got.value().images;
    Napi::Float64Array rows = Napi::Float64Array::New(env, 2 * images.size());
    for (std::size_t i = 0; i < images.size(); ++i) {
      rows[2 * i] = static_cast<double>(images[i].first);
      rows[2 * i + 1] = static_cast<double>(images[i].second);
    }
    Napi::Object o = Napi::Object::New(env);
    o.Set("throughSequence", toBigInt(env, got.value().throughSequence));
    o.Set("images", rows);
    deferred->Resolve(o);
  });
  return deferred->Promise();
}

Napi::Value VolumeObject::claimJournal(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "claimJournal")) return env.Undefined();
  const auto generation = bigint(env, info[0], "generation");
  const auto incarnation = generation ? bigint(env, info[1], "incarnation") : std::nullopt;
  if (incarnation) volume_->claimJournal({*generation, *incarnation});
  return env.Undefined();
}

Napi::Value VolumeObject::checkpointPublished(Info info) {
  if (open(info.Env(), "checkpointPublished")) volume_->checkpointPublished();
  return info.Env().Undefined();
}

Napi::Value VolumeObject::reapplyRing(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "reapplyRing")) return env.Undefined();
  const auto reapplied = volume_->reapplyRing();
  if (!reapplied.ok()) {
    throwError(env, reapplied.error());
    return env.Undefined();
  }
  Napi::Object o = Napi::Object::New(env);
  o.Set("entries", static_cast<double>(reapplied.value().entries));
  o.Set("bytes", static_cast<double>(reapplied.value().bytes));
  return o;
}

Napi::Value VolumeObject::start(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "start")) return env.Undefined();
  if (started_) {
    throwError(env, {Failure::kWrongState, "start", "it was started before"});
    return env.Undefined();
  }
  if (frontend_) {
    if (Status status = frontend_->start(); !status.ok()) {
      throwError(env, status.error());
      return env.Undefined();
    }
  }
  started_ = true;
  return env.Undefined();
}

}  // namespace nabu::volume::binding
