#include <napi.h>

#include <cmath>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "binding/typed_error.h"
#include "slab/region.h"

namespace nabu::slab {
namespace {

using binding::throwTyped;

void throwRegionError(Napi::Env env, const RegionError& error, const RegionOptions& options) {
  switch (error.failure) {
    case RegionFailure::kBadLength:
      return throwTyped(env, "INVALID_ARGUMENT",
                        {{"field", "lengthBytes"}, {"reason", error.reason}});
    case RegionFailure::kNoMemory:
      return throwTyped(env, "RESOURCE_EXHAUSTED",
                        {{"resource", "memory"}, {"reason", error.reason}});
    case RegionFailure::kNoHugePages:
      return throwTyped(env, "RESOURCE_EXHAUSTED",
                        {{"resource", "huge pages"}, {"reason", error.reason}});
    case RegionFailure::kLockDenied:
      return throwTyped(
          env, "PERMISSION_DENIED",
          {{"operation", "locking " + std::to_string(options.lengthBytes) + " bytes of memory"},
           {"reason", error.reason}});
  }
}

std::optional<HugePages> parseHugePages(const std::string& text) {
  if (text == "no") return HugePages::kNo;
  if (text == "try") return HugePages::kTry;
  if (text == "require") return HugePages::kRequire;
  return std::nullopt;
}

// allocate(lengthBytes, {hugePages, lock, memoryFd?}); the first two are required: a default
// belongs to the one who configures, not to the binding.
std::optional<RegionOptions> parse(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const double length = info[0].IsNumber() ? info[0].As<Napi::Number>().DoubleValue() : -1;
  if (!(length > 0) || length > 9007199254740991.0 || length != std::floor(length)) {
    throwTyped(env, "INVALID_ARGUMENT",
               {{"field", "lengthBytes"}, {"reason", "must be a positive multiple of 4096"}});
    return std::nullopt;
  }
  if (!info[1].IsObject()) {
    throwTyped(env, "INVALID_ARGUMENT", {{"field", "options"}, {"reason", "must be an object"}});
    return std::nullopt;
  }
  const auto options = info[1].As<Napi::Object>();
  const Napi::Value hugePages = options.Get("hugePages");
  const Napi::Value lock = options.Get("lock");
  if (env.IsExceptionPending()) return std::nullopt;  // a getter threw
  const auto kind = hugePages.IsString() ? parseHugePages(hugePages.As<Napi::String>().Utf8Value())
                                         : std::nullopt;
  if (!kind) {
    throwTyped(env, "INVALID_ARGUMENT",
               {{"field", "hugePages"}, {"reason", "must be one of no, try, require"}});
    return std::nullopt;
  }
  if (!lock.IsBoolean()) {
    throwTyped(env, "INVALID_ARGUMENT", {{"field", "lock"}, {"reason", "must be true or false"}});
    return std::nullopt;
  }
  const Napi::Value memoryFd = options.Get("memoryFd");
  if (env.IsExceptionPending()) return std::nullopt;
  if (!memoryFd.IsUndefined() && !memoryFd.IsNumber()) {
    throwTyped(env, "INVALID_ARGUMENT",
               {{"field", "memoryFd"}, {"reason", "must be a descriptor or absent"}});
    return std::nullopt;
  }
  return RegionOptions{
      .lengthBytes = static_cast<std::size_t>(length),
      .hugePages = *kind,
      .lock = lock.As<Napi::Boolean>().Value(),
      .memoryFd = memoryFd.IsNumber() ? memoryFd.As<Napi::Number>().Int32Value() : -1};
}

// -> {buffer, pageSizeBytes, locked}. The memory lives as long as the ArrayBuffer or any native
// object that holds a reference to it.
Napi::Value allocate(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto options = parse(info);
  if (!options) return env.Undefined();
  auto result = Region::map(*options);
  if (const auto* error = std::get_if<RegionError>(&result)) {
    throwRegionError(env, *error, *options);
    return env.Undefined();
  }
  auto region = std::make_unique<Region>(std::move(std::get<Region>(result)));
  const Region& mapped = *region;
  const auto buffer = Napi::ArrayBuffer::New(
      env, mapped.bytes(), mapped.lengthBytes(),
      [](Napi::Env, void*, Region* owned) { std::unique_ptr<Region>{owned}; }, region.get());
  if (env.IsExceptionPending()) return env.Undefined();
  region.release();  // the finalizer owns it now
  Napi::Object answer = Napi::Object::New(env);
  answer.Set("buffer", buffer);
  answer.Set("pageSizeBytes", static_cast<double>(mapped.pageSizeBytes()));
  answer.Set("locked", mapped.locked());
  return answer;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("allocate", Napi::Function::New(env, allocate, "allocate"));
  return exports;
}

}  // namespace
}  // namespace nabu::slab

static Napi::Object InitSlab(Napi::Env env, Napi::Object exports) {
  return nabu::slab::init(env, exports);
}
NODE_API_MODULE(slab, InitSlab)
