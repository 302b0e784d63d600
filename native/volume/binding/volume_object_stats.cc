#include <utility>

#include "volume/binding/volume_object.h"

namespace nabu::volume::binding {

Napi::Value VolumeObject::unsealedBytes(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "unsealedBytes")) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(volume_->unsealedBytes()));
}

Napi::Value VolumeObject::watchWrites(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "watchWrites")) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(volume_->watchWrites()));
}

Napi::Value VolumeObject::stats(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "stats")) return env.Undefined();
  const VolumeStats s = volume_->stats();
  VolumeCounters& c = volume_->counters();
  Napi::Object o = Napi::Object::New(env);
  const std::pair<const char*, std::uint64_t> numbers[] = {
      {"sizeBytes", s.sizeBytes},
      {"reads", c.reads},
      {"writes", c.writes},
      {"flushes", c.flushes},
      {"trims", c.trims},
      {"readBytes", c.readBytes},
      {"writtenBytes", c.writtenBytes},
      {"ringBlocks", c.ringBlocks},
      {"cacheBlocks", c.cacheBlocks},
      {"holeBlocks", c.holeBlocks},
      {"missBlocks", c.missBlocks},
      {"prefetchedBlocks", c.prefetchedBlocks},
      {"fetchesInFlight", s.fetchesInFlight},
      {"waitingReads", s.waitingReads},
      {"waitingWrites", s.waitingWrites},
      {"waitingFlushes", s.waitingFlushes},
      {"oldestWaitMs", s.oldestWaitMs},
      {"timedOut", c.timedOut},
      {"ioErrors", c.ioErrors},
      {"resent", c.resent},
      {"resentDone", c.resentDone},
      {"ringBytes", s.ringBytes},
      {"ringUsedBytes", s.ringUsedBytes},
      {"unsealedBytes", s.unsealedBytes},
      {"imagesInFlight", s.imagesInFlight},
      {"mapPages", s.mapPages},
      {"dirtyPages", s.dirtyPages},
      {"cacheCapacityBlocks", s.cacheCapacityBlocks},
      {"cacheUsedBlocks", s.cacheUsedBlocks},
      {"liveBlocks", s.liveBlocks},
      {"totalBlocks", s.totalBlocks},
      {"knownSequences", s.knownSequences}};
  for (const auto& [name, value] : numbers) o.Set(name, static_cast<double>(value));
  o.Set("committedSequence", toBigInt(env, s.committedSequence));
  o.Set("appliedSequence", toBigInt(env, s.appliedSequence));
  o.Set("checkpointSequence", toBigInt(env, s.checkpointSequence));
  o.Set("coveredSequence", toBigInt(env, s.coveredSequence));
  return o;
}

}  // namespace nabu::volume::binding
