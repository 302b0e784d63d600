#include <napi.h>
#include <unistd.h>

#include "volume/binding/arguments.h"
#include "volume/binding/errors.h"
#include "volume/binding/keeper_connection.h"
#include "volume/binding/volume_object.h"

namespace nabu::volume::binding {
namespace {

Napi::Value setErrorFactory(const Napi::CallbackInfo& info) {
  if (!info[0].IsFunction()) {
    throwBadArgument(info.Env(), "make", "is not a function");
  } else {
    info.Env().GetInstanceData<AddonState>()->makeError =
        Napi::Persistent(info[0].As<Napi::Function>());
  }
  return info.Env().Undefined();
}

// (volumeId, ringBytes) -> descriptor
Napi::Value createRing(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto id = volumeId(env, info[0]);
  if (!id) return env.Undefined();
  const auto bytes = whole(env, info[1], "ringBytes", std::uint64_t{1} << 40);
  if (!bytes) return env.Undefined();
  const auto fd = WriteRing::createMemfd(*id, *bytes);
  if (fd.ok()) return Napi::Number::New(env, fd.value());
  throwError(env, fd.error());
  return env.Undefined();
}

Napi::Value closeFd(const Napi::CallbackInfo& info) {
  const auto fd = whole(info.Env(), info[0], "fd", 1 << 30);
  if (fd) ::close(static_cast<int>(*fd));
  return info.Env().Undefined();
}

// (readCacheBytes) -> bytes of a scratchFd
Napi::Value scratchBytesFor(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto cache = whole(env, info[0], "readCacheBytes", std::uint64_t{1} << 40);
  if (!cache) return env.Undefined();
  return Napi::Number::New(env, static_cast<double>(scratchBytes(*cache)));
}

// (slab, slabOffset, length) -> header
Napi::Value readImageHeader(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto slab = slabOf(env, info[0]);
  if (!slab) return env.Undefined();
  const auto range = slab->range(env, info[1], info[2]);
  if (!range) return env.Undefined();
  const auto parsed = parseImage(*range);
  if (parsed.ok()) return toHeader(env, parsed.value().header);
  throwError(env, parsed.error());
  return env.Undefined();
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new AddonState);  // deleted by the environment
  exports.Set("setErrorFactory", Napi::Function::New(env, setErrorFactory, "setErrorFactory"));
  exports.Set("createRing", Napi::Function::New(env, createRing, "createRing"));
  exports.Set("closeFd", Napi::Function::New(env, closeFd, "closeFd"));
  exports.Set("scratchBytes", Napi::Function::New(env, scratchBytesFor, "scratchBytes"));
  exports.Set("readImageHeader", Napi::Function::New(env, readImageHeader, "readImageHeader"));
  exports.Set("Volume", VolumeObject::define(env));
  exports.Set("KeeperConnection", KeeperConnection::define(env));
  return exports;
}

}  // namespace
}  // namespace nabu::volume::binding

static Napi::Object InitVolume(Napi::Env env, Napi::Object exports) {
  return nabu::volume::binding::init(env, exports);
}
NODE_API_MODULE(volume, InitVolume)
