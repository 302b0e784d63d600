#include "volume/binding/volume_object.h"

#include <sys/stat.h>

#include <utility>

#include "volume/binding/direct_requests.h"
#include "volume/binding/errors.h"

namespace nabu::volume::binding {

std::size_t scratchBytes(std::size_t readCacheBytes) {
  return ReadCache::memoryBytes(readCacheBytes) +
         fuse::FuseFrontend::memoryBytes(WriteRing::kReaders - 1);
}

namespace {

constexpr std::uint64_t kMaxCacheBytes = std::uint64_t{1} << 40;
constexpr std::uint64_t kMaxTimeoutMs = std::uint64_t{1} << 31;

Napi::Object toSealed(Napi::Env env, const Sealed& sealed) {
  Napi::Object o = Napi::Object::New(env);
  o.Set("length", static_cast<double>(sealed.lengthBytes));
  o.Set("payloadBlocks", sealed.payloadBlocks);
  o.Set("entryCount", sealed.entryCount);
  o.Set("more", sealed.more);
  return o;
}

}  // namespace

// ---- Construction and end

Napi::Function VolumeObject::define(Napi::Env env) {
  return DefineClass(env, "NativeVolume",
                     {InstanceMethod<&VolumeObject::loadRoot>("loadRoot"),
                      InstanceMethod<&VolumeObject::applyImage>("applyImage"),
                      InstanceMethod<&VolumeObject::resumeJournal>("resumeJournal"),
                      InstanceMethod<&VolumeObject::claimJournal>("claimJournal"),
                      InstanceMethod<&VolumeObject::checkpointPublished>("checkpointPublished"),
                      InstanceMethod<&VolumeObject::reapplyRing>("reapplyRing"),
                      InstanceMethod<&VolumeObject::start>("start"),
                      InstanceMethod<&VolumeObject::seal>("seal"),
                      InstanceMethod<&VolumeObject::commit>("commit"),
                      InstanceMethod<&VolumeObject::fetched>("fetched"),
                      InstanceMethod<&VolumeObject::beginCheckpoint>("beginCheckpoint"),
                      InstanceMethod<&VolumeObject::nextCheckpointImage>("nextCheckpointImage"),
                      InstanceMethod<&VolumeObject::pickVictims>("pickVictims"),
                      InstanceMethod<&VolumeObject::stageClean>("stageClean"),
                      InstanceMethod<&VolumeObject::cleanImage>("cleanImage"),
                      InstanceMethod<&VolumeObject::deletable>("deletable"),
                      InstanceMethod<&VolumeObject::forget>("forget"),
                      InstanceMethod<&VolumeObject::resize>("resize"),
                      InstanceMethod<&VolumeObject::setIoTimeout>("setIoTimeout"),
                      InstanceMethod<&VolumeObject::fail>("fail"),
                      InstanceMethod<&VolumeObject::stats>("stats"),
                      InstanceMethod<&VolumeObject::unsealedBytes>("unsealedBytes"),
                      InstanceMethod<&VolumeObject::watchWrites>("watchWrites"),
                      InstanceMethod<&VolumeObject::close>("close"),
                      InstanceMethod<&VolumeObject::directRead>("directRead"),
                      InstanceMethod<&VolumeObject::directWrite>("directWrite"),
                      InstanceMethod<&VolumeObject::directTrim>("directTrim"),
                      InstanceMethod<&VolumeObject::directFlush>("directFlush")});
}

VolumeObject::VolumeObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<VolumeObject>(info) {
  const Napi::Env env = info.Env();
  closed_ = true;  // until everything below has worked
  const auto slab = slabOf(env, info[0]);
  if (!slab) return;
  if (!info[1].IsObject()) {
    throwBadArgument(env, "options", "is not an object");
    return;
  }
  if (!info[2].IsFunction()) {
    throwBadArgument(env, "events", "is not a function");
    return;
  }
  const auto o = info[1].As<Napi::Object>();
  const auto get = [&](const char* name) -> Napi::Value {
    return env.IsExceptionPending() ? env.Undefined() : o.Get(name);
  };
  const auto id = volumeId(env, get("volumeId"));
  if (!id) return;
  VolumeOptions options;
  options.volumeId = *id;
  const std::pair<const char*, std::pair<std::uint64_t*, std::uint64_t>> numbers[] = {
      {"sizeBytes", {&options.sizeBytes, kMaxVolumeBytes}},
      {"readCacheBytes", {&options.readCacheBytes, kMaxCacheBytes}},
      {"mapCacheBytes", {&options.mapCacheBytes, kMaxCacheBytes}},
      {"ioTimeoutMs", {&options.ioTimeoutMs, kMaxTimeoutMs}},
      {"sealBytes", {&options.sealBytes, std::uint64_t{1} << 40}}};
  for (const auto& [name, target] : numbers) {
    const auto value = whole(env, get(name), name, target.second);
    if (!value) return;
    *target.first = *value;
  }
  const auto ringFd = whole(env, get("ringFd"), "ringFd", 1 << 30);
  if (!ringFd) return;
  const Napi::Value kind = get("kind");
  const bool withFuse = kind.IsString() && kind.As<Napi::String>().Utf8Value() == "fuse";
  options.readOnly = get("readOnly").ToBoolean().Value();
  if (env.IsExceptionPending()) return;

  const Napi::Value scratchFd = get("scratchFd");
  if (env.IsExceptionPending()) return;
  if (scratchFd.IsNumber()) options.scratchFd = scratchFd.As<Napi::Number>().Int32Value();
  struct stat scratch {};
  if (options.scratchFd >= 0 &&
      (fstat(options.scratchFd, &scratch) != 0 ||
       static_cast<std::uint64_t>(scratch.st_size) < scratchBytes(options.readCacheBytes))) {
    throwBadArgument(env, "scratchFd", "is no memory of at least scratchBytes");
    return;
  }

  events_ = EventQueue::create(env, info[2].As<Napi::Function>());
  auto volume = Volume::open(options, static_cast<int>(*ringFd), *events_);
  if (!volume.ok()) {
    events_->close(env);
    throwError(env, volume.error());
    return;
  }
  if (withFuse) {
    const auto fuseFd = whole(env, get("fuseFd"), "fuseFd", 1 << 30);
    const auto threads =
        fuseFd ? whole(env, get("threads"), "threads", WriteRing::kReaders - 1) : std::nullopt;
    if (!threads) {
      events_->close(env);
      return;
    }
    EventQueue* events = events_.get();
    const SharedMemory buffers{options.scratchFd, ReadCache::memoryBytes(options.readCacheBytes)};
    auto frontend = fuse::FuseFrontend::create(
        *volume.value(), static_cast<int>(*fuseFd), static_cast<int>(*threads), buffers,
        [events](int error) { events->frontendClosed(error); });
    if (!frontend.ok()) {
      events_->close(env);
      throwError(env, frontend.error());
      return;
    }
    frontend_ = std::move(frontend.value());
  }
  volume_ = std::move(volume.value());
  id_ = hexOf(*id);
  sink_ = std::make_unique<DirectSink>(*events_, id_);
  slab_ = *slab;
  slabReference_ = Napi::Persistent(info[0].As<Napi::ArrayBuffer>());
  closed_ = false;
  napi_add_env_cleanup_hook(env, onEnvironmentEnd, this);
}

VolumeObject::~VolumeObject() {
  if (volume_ == nullptr) return;
  napi_remove_env_cleanup_hook(Env(), onEnvironmentEnd, this);
  shutDown();
}

void VolumeObject::onEnvironmentEnd(void* self) {
  auto* volume = static_cast<VolumeObject*>(self);
  if (!volume->closed_) volume->events_->abandon();
  volume->shutDown();
}

void VolumeObject::shutDown() {
  if (closed_) return;
  closed_ = true;
  if (frontend_) frontend_->stop();
  volume_->close();
  frontend_.reset();
  events_->close(Env());
}

bool VolumeObject::open(Napi::Env env, const char* operation) {
  if (!closed_) return true;
  throwError(env, {Failure::kWrongState, operation, "the volume is closed"});
  return false;
}

Napi::Value VolumeObject::close(Info info) {
  const Napi::Env env = info.Env();
  auto deferred = Napi::Promise::Deferred::New(env);
  shutDown();
  deferred.Resolve(env.Undefined());
  return deferred.Promise();
}

// ---- Images

Napi::Value VolumeObject::image(Info info, const char* operation,
                                Result<std::optional<Sealed>> (Volume::*build)(std::span<std::byte>,
                                                                               const Position&)) {
  const Napi::Env env = info.Env();
  if (!open(env, operation)) return env.Undefined();
  const auto range = slab_.range(env, info[0], info[1]);
  if (!range) return env.Undefined();
  const auto at = position(env, info[2]);
  if (!at) return env.Undefined();
  const auto sealed = (volume_.get()->*build)(*range, *at);
  if (!sealed.ok()) {
    throwError(env, sealed.error());
    return env.Undefined();
  }
  if (!sealed.value()) return env.Null();
  return toSealed(env, *sealed.value());
}

Napi::Value VolumeObject::seal(Info info) { return image(info, "seal", &Volume::seal); }
Napi::Value VolumeObject::cleanImage(Info info) {
  return image(info, "cleanImage", &Volume::cleanImage);
}

Napi::Value VolumeObject::commit(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "commit")) return env.Undefined();
  const auto sequence = bigint(env, info[0], "sequence");
  if (!sequence) return env.Undefined();
  if (Status status = volume_->commit(*sequence); !status.ok()) throwError(env, status.error());
  return env.Undefined();
}

Napi::Value VolumeObject::fetched(Info info) {
  const Napi::Env env = info.Env();
  if (closed_) return env.Undefined();  // an answer that was on its way
  const auto id = whole(env, info[0], "id", std::uint64_t{1} << 53);
  if (!id) return env.Undefined();
  const std::string status = info[2].IsString() ? info[2].As<Napi::String>().Utf8Value() : "";
  if (status != "ok" && status != "lost" && status != "retry") {
    throwBadArgument(env, "status", "is none of ok, lost, retry");
    return env.Undefined();
  }
  const std::byte* bytes = nullptr;
  std::size_t room = 0;
  if (status == "ok") {
    const auto offset = whole(env, info[1], "slabOffset", slab_.lengthBytes);
    if (!offset) return env.Undefined();
    bytes = slab_.bytes + *offset;
    room = slab_.lengthBytes - *offset;
  }
  const FetchOutcome outcome = status == "ok"     ? FetchOutcome::kOk
                               : status == "lost" ? FetchOutcome::kLost
                                                  : FetchOutcome::kRetry;
  if (Status done = volume_->fetched(*id, bytes, room, outcome); !done.ok())
    throwError(env, done.error());
  return env.Undefined();
}

Napi::Value VolumeObject::beginCheckpoint(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "beginCheckpoint")) return env.Undefined();
  const auto begun = volume_->beginCheckpoint();
  if (begun.ok()) return Napi::Boolean::New(env, begun.value());
  throwError(env, begun.error());
  return env.Undefined();
}

Napi::Value VolumeObject::nextCheckpointImage(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "nextCheckpointImage")) return env.Undefined();
  const auto range = slab_.range(env, info[0], info[1]);
  if (!range) return env.Undefined();
  const auto at = position(env, info[2]);
  if (!at) return env.Undefined();
  const auto sealed = volume_->nextCheckpointImage(*range, *at);
  if (!sealed.ok()) {
    throwError(env, sealed.error());
    return env.Undefined();
  }
  Napi::Object o = Napi::Object::New(env);
  o.Set("length", static_cast<double>(sealed.value().lengthBytes));
  o.Set("payloadBlocks", sealed.value().payloadBlocks);
  o.Set("last", sealed.value().last);
  return o;
}

// ---- Cleaning

Napi::Value VolumeObject::pickVictims(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "pickVictims")) return env.Undefined();
  const auto max = whole(env, info[0], "max", 1 << 20);
  if (!max) return env.Undefined();
  const auto utilisation = number(env, info[1], "utilisation", 0, 1);
  if (!utilisation) return env.Undefined();
  std::uint64_t small = 0;
  if (!info[2].IsUndefined()) {
    const auto given = whole(env, info[2], "smallBlocks", 1 << 16);
    if (!given) return env.Undefined();
    small = *given;
  }
  const auto victims = volume_->pickVictims(*max, *utilisation, static_cast<std::uint32_t>(small));
  Napi::Array list = Napi::Array::New(env, victims.size());
  for (std::uint32_t i = 0; i < victims.size(); ++i) {
    Napi::Object o = Napi::Object::New(env);
    o.Set("sequence", toBigInt(env, victims[i].sequence));
    o.Set("liveBlocks", victims[i].liveBlocks);
    o.Set("totalBlocks", victims[i].totalBlocks);
    list.Set(i, o);
  }
  return list;
}

Napi::Value VolumeObject::stageClean(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "stageClean")) return env.Undefined();
  const auto range = slab_.range(env, info[0], info[1]);
  if (!range) return env.Undefined();
  auto deferred = std::make_shared<Napi::Promise::Deferred>(Napi::Promise::Deferred::New(env));
  volume_->stageClean(*range, [env, deferred](Result<StagedCounts> counts) {
    const Napi::HandleScope scope(env);
    if (!counts.ok()) {
      rejectWith(env, deferred, counts.error());
      return;
    }
    Napi::Object o = Napi::Object::New(env);
    o.Set("stagedBlocks", static_cast<double>(counts.value().added));
    o.Set("totalStagedBlocks", static_cast<double>(counts.value().total));
    deferred->Resolve(o);
  });
  return deferred->Promise();
}

Napi::Value VolumeObject::deletable(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "deletable")) return env.Undefined();
  const auto max = whole(env, info[0], "max", 1 << 20);
  if (!max) return env.Undefined();
  const auto sequences = volume_->deletable(*max);
  Napi::Array list = Napi::Array::New(env, sequences.size());
  for (std::uint32_t i = 0; i < sequences.size(); ++i) list.Set(i, toBigInt(env, sequences[i]));
  return list;
}

Napi::Value VolumeObject::forget(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "forget")) return env.Undefined();
  if (!info[0].IsArray()) {
    throwBadArgument(env, "sequences", "is not an array");
    return env.Undefined();
  }
  const auto list = info[0].As<Napi::Array>();
  std::vector<std::uint64_t> sequences;
  for (std::uint32_t i = 0; i < list.Length(); ++i) {
    const auto sequence = bigint(env, list.Get(i), "sequences");
    if (!sequence) return env.Undefined();
    sequences.push_back(*sequence);
  }
  volume_->forget(sequences);
  return env.Undefined();
}

Napi::Value VolumeObject::resize(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "resize")) return env.Undefined();
  const auto size = whole(env, info[0], "sizeBytes", kMaxVolumeBytes);
  if (!size) return env.Undefined();
  if (Status status = volume_->resize(*size); !status.ok()) throwError(env, status.error());
  return env.Undefined();
}

Napi::Value VolumeObject::setIoTimeout(Info info) {
  const Napi::Env env = info.Env();
  if (!open(env, "setIoTimeout")) return env.Undefined();
  const auto timeout = whole(env, info[0], "timeoutMs", kMaxTimeoutMs);
  if (!timeout) return env.Undefined();
  volume_->setIoTimeout(*timeout);
  if (frontend_) frontend_->wakeExpiry();
  return env.Undefined();
}

Napi::Value VolumeObject::fail(Info info) {
  const Napi::Env env = info.Env();
  if (open(env, "fail")) volume_->fail();
  return env.Undefined();
}

}  // namespace nabu::volume::binding
