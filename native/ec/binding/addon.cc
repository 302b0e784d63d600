#include <napi.h>

#include <memory>
#include <string>

#include "binding/typed_error.h"
#include "ec/binding/arguments.h"
#include "ec/binding/coder_object.h"
#include "ec/binding/workers.h"
#include "ec/crc32c.h"
#include "ec/dispatch.h"
#include "ec/stripe.h"

namespace nabu::ec::binding {
namespace {

struct Range {
  uint8_t* at;
  size_t length;
};

/** (buffer, offset, length, ...) */
std::optional<Range> takeRange(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = takeBytes(env, info[0], "buffer");
  if (!bytes) return std::nullopt;
  const auto offset = takeSize(env, info[1], "offset");
  if (!offset) return std::nullopt;
  const auto length = takeSize(env, info[2], "length");
  if (!length || !checkRange(env, *bytes, *offset, *length, "offset")) return std::nullopt;
  return Range{bytes->at + *offset, *length};
}

size_t blocksOf(size_t length) { return length / kBlockBytes + (length % kBlockBytes != 0); }

// crc32c(buffer, offset, length, crc = 0) -> number
Napi::Value jsCrc32c(const Napi::CallbackInfo& info) {
  const auto range = takeRange(info);
  if (!range) return info.Env().Undefined();
  size_t start = 0;
  if (!info[3].IsUndefined()) {
    const auto given = takeSize(info.Env(), info[3], "crc");
    if (!given) return info.Env().Undefined();
    if (*given > UINT32_MAX) {
      throwBadArgument(info.Env(), "crc", "must have 32 bits");
      return info.Env().Undefined();
    }
    start = *given;
  }
  return Napi::Number::New(info.Env(),
                           crc32c(range->at, range->length, static_cast<uint32_t>(start)));
}

// crc32cBlocks(buffer, offset, length, out: Uint32Array)
void jsCrc32cBlocks(const Napi::CallbackInfo& info) {
  const auto range = takeRange(info);
  if (!range) return;
  const auto out = takeUint32s(info.Env(), info[3], "out", blocksOf(range->length));
  if (out) crc32cBlocks(range->at, range->length, *out);
}

// verifyBlocks(buffer, offset, length, crcs: Uint32Array) -> index of the first bad block or -1
Napi::Value jsVerifyBlocks(const Napi::CallbackInfo& info) {
  const auto range = takeRange(info);
  if (!range) return info.Env().Undefined();
  const auto crcs = takeUint32s(info.Env(), info[3], "crcs", blocksOf(range->length));
  if (!crcs) return info.Env().Undefined();
  const int64_t bad = verifyBlocks(range->at, range->length, *crcs);
  return Napi::Number::New(info.Env(), static_cast<double>(bad));
}

// stripeHash(buffer, offset, blobLength, k, m, out: Uint8Array(16))
void jsStripeHash(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto range = takeRange(info);
  if (!range) return;
  const auto k = takeSize(env, info[3], "k");
  if (!k) return;
  const auto m = takeSize(env, info[4], "m");
  if (!m) return;
  if (*k < 1 || *k > kMaxDataShards) return throwBadArgument(env, "k", "must be 1 to 16");
  if (*m > kMaxParityShards) return throwBadArgument(env, "m", "must be 0 to 8");
  const auto out = takeUint8s(env, info[5], "out", sizeof(StripeHash));
  if (!out) return;
  const StripeHash hash =
      stripeHash(range->at, range->length, static_cast<int>(*k), static_cast<int>(*m));
  std::copy(hash.begin(), hash.end(), *out);
}

Napi::Array describe(Napi::Env env, std::span<const DriverStatus> statuses) {
  Napi::Array list = Napi::Array::New(env, statuses.size());
  for (size_t i = 0; i < statuses.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("name", statuses[i].name);
    entry.Set("available", statuses[i].available);
    entry.Set("reason", statuses[i].reason);
    list.Set(static_cast<uint32_t>(i), entry);
  }
  return list;
}

// drivers(), crc32cDrivers() -> [{name, available, reason}], fastest first
Napi::Value jsDrivers(const Napi::CallbackInfo& info) { return describe(info.Env(), drivers()); }
Napi::Value jsCrc32cDrivers(const Napi::CallbackInfo& info) {
  return describe(info.Env(), crc32cDrivers());
}

// configureWorkers(threads, queueLimit): before the first asynchronous call
void jsConfigureWorkers(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto threads = takeSize(env, info[0], "threads");
  if (!threads) return;
  const auto limit = takeSize(env, info[1], "queueLimit");
  if (!limit) return;
  if (*threads < 1 || *threads > Workers::kMaxThreads) {
    return throwBadArgument(env, "threads", "must be 1 to 64");
  }
  if (*limit < 1 || *limit > Workers::kMaxQueueLimit) {
    return throwBadArgument(env, "queueLimit", "must be 1 to 65536");
  }
  if (static_cast<Workers*>(info.Data())->configure(*threads, *limit)) return;
  nabu::binding::throwTyped(
      env, "FAILED_PRECONDITION",
      {{"operation", "configuring the coding threads"}, {"reason", "they run already"}});
}

}  // namespace

// Everything of one environment. Instance data is freed after the cleanup hooks, so after the
// threads have ended.
Napi::Object init(Napi::Env env, Napi::Object exports) {
  auto owned = std::make_unique<Workers>();
  Workers& workers = *owned;
  env.SetInstanceData<Workers>(owned.release());
  const auto set = [&](const char* name, auto function) {
    exports.Set(name, Napi::Function::New(env, function, name, &workers));
  };
  exports.Set("Coder", CoderObject::define(env, workers));
  set("crc32c", jsCrc32c);
  set("crc32cBlocks", jsCrc32cBlocks);
  set("verifyBlocks", jsVerifyBlocks);
  set("stripeHash", jsStripeHash);
  set("drivers", jsDrivers);
  set("crc32cDrivers", jsCrc32cDrivers);
  set("configureWorkers", jsConfigureWorkers);
  return exports;
}

}  // namespace nabu::ec::binding

static Napi::Object InitEc(Napi::Env env, Napi::Object exports) {
  return nabu::ec::binding::init(env, exports);
}
NODE_API_MODULE(ec, InitEc)
