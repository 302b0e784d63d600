#include "ec/binding/coder_object.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "binding/typed_error.h"
#include "ec/dispatch.h"
#include "ec/stripe.h"

namespace nabu::ec::binding {
namespace {

using nabu::binding::throwTyped;

constexpr size_t kAlignment = 64;

/** A reason without the driver's name, which the error's own text has. */
std::string reasonOf(const Error& error, const std::string& driver) {
  for (const DriverStatus& status : drivers()) {
    if (status.name == driver) return status.reason;
  }
  return error.message;
}

void throwCreateError(Napi::Env env, const Error& error, const std::string& driver) {
  if (error.code == ErrorCode::kBadArgument) {
    return throwBadArgument(env, "driver", error.message);
  }
  throwTyped(env, "DRIVER_UNAVAILABLE",
             {{"port", "erasure coding"}, {"driver", driver}, {"reason", reasonOf(error, driver)}});
}

void throwDecodeError(Napi::Env env, const Error& error) {
  throwBadArgument(env, error.code == ErrorCode::kTooFewShards ? "presentMask" : "wantedMask",
                   error.message);
}

bool overlap(const uint8_t* a, const uint8_t* b, size_t length) {
  return a < b + length && b < a + length;
}

class EncodeCall : public AsyncCall {
 public:
  EncodeCall(Napi::Function callback, std::shared_ptr<const Coder> coder, const Napi::Value& slab,
             const Napi::Value& crcOut, const Napi::Value& hashOut, uint8_t* stripe,
             size_t shardLength, size_t blobLength)
      : AsyncCall(callback),
        coder_(std::move(coder)),
        slab_(Napi::Persistent(slab.As<Napi::Object>())),
        crcOut_(Napi::Persistent(crcOut.As<Napi::Object>())),
        hashOut_(Napi::Persistent(hashOut.As<Napi::Object>())),
        stripe_(stripe),
        shardLength_(shardLength),
        blobLength_(blobLength),
        crcs_(static_cast<size_t>(coder_->totalShards()) * (shardLength / kBlockBytes)) {}

  void run() override {
    hash_ = encodeStripe(*coder_, stripe_, shardLength_, blobLength_, crcs_.data());
  }

 protected:
  // The results were kept here: JavaScript may have detached its arrays meanwhile.
  Napi::Value deliver(Napi::Env env) override {
    const auto crcs = takeUint32s(env, crcOut_.Value(), "crcOut", crcs_.size());
    if (!crcs) return env.Undefined();
    const auto hash = takeUint8s(env, hashOut_.Value(), "hashOut", hash_.size());
    if (!hash) return env.Undefined();
    std::copy(crcs_.begin(), crcs_.end(), *crcs);
    std::copy(hash_.begin(), hash_.end(), *hash);
    return env.Undefined();
  }

 private:
  std::shared_ptr<const Coder> coder_;
  Napi::ObjectReference slab_;
  Napi::ObjectReference crcOut_;
  Napi::ObjectReference hashOut_;
  uint8_t* stripe_;
  size_t shardLength_;
  size_t blobLength_;
  std::vector<uint32_t> crcs_;
  StripeHash hash_{};
};

class ReconstructCall : public AsyncCall {
 public:
  ReconstructCall(Napi::Function callback, std::shared_ptr<const Coder> coder,
                  const Napi::Value& slab, const std::array<uint8_t*, kMaxShards>& shards,
                  uint32_t present, uint32_t wanted, size_t length)
      : AsyncCall(callback),
        coder_(std::move(coder)),
        slab_(Napi::Persistent(slab.As<Napi::Object>())),
        shards_(shards),
        present_(present),
        wanted_(wanted),
        length_(length) {}

  void run() override {
    const auto result = coder_->reconstruct(shards_.data(), present_, wanted_, length_);
    if (!result.ok()) error_ = result.error();
  }

 protected:
  Napi::Value deliver(Napi::Env env) override {
    if (error_) throwDecodeError(env, *error_);
    return env.Undefined();
  }

 private:
  std::shared_ptr<const Coder> coder_;
  Napi::ObjectReference slab_;
  std::array<uint8_t*, kMaxShards> shards_;
  uint32_t present_;
  uint32_t wanted_;
  size_t length_;
  std::optional<Error> error_;
};

class VerifyCall : public AsyncCall {
 public:
  VerifyCall(Napi::Function callback, std::shared_ptr<const Coder> coder, const Napi::Value& slab,
             const std::array<uint8_t*, kMaxShards>& shards, size_t length)
      : AsyncCall(callback),
        coder_(std::move(coder)),
        slab_(Napi::Persistent(slab.As<Napi::Object>())),
        shards_(shards),
        length_(length) {}

  void run() override { firstWrong_ = coder_->verify(shards_.data(), length_); }

 protected:
  Napi::Value deliver(Napi::Env env) override { return Napi::Number::New(env, firstWrong_); }

 private:
  std::shared_ptr<const Coder> coder_;
  Napi::ObjectReference slab_;
  std::array<uint8_t*, kMaxShards> shards_;
  size_t length_;
  int firstWrong_ = -1;
};

}  // namespace

Napi::Function CoderObject::define(Napi::Env env, Workers& workers) {
  return DefineClass(env, "Coder",
                     {InstanceMethod("encodeStripe", &CoderObject::encodeStripe),
                      InstanceMethod("encodeStripeAsync", &CoderObject::encodeStripeAsync),
                      InstanceMethod("reconstruct", &CoderObject::reconstruct),
                      InstanceMethod("reconstructAsync", &CoderObject::reconstructAsync),
                      InstanceMethod("verify", &CoderObject::verify),
                      InstanceMethod("verifyAsync", &CoderObject::verifyAsync),
                      InstanceAccessor<&CoderObject::driver>("driver")},
                     &workers);
}

CoderObject::CoderObject(const Napi::CallbackInfo& info)
    : ObjectWrap(info), workers_(static_cast<Workers*>(info.Data())) {
  build(info);
}

void CoderObject::build(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsArrayBuffer()) return throwBadArgument(env, "slab", "must be an ArrayBuffer");
  const auto slab = info[0].As<Napi::ArrayBuffer>();
  const Napi::Value resizable = slab.Get("resizable");
  if (env.IsExceptionPending()) return;
  if (resizable.ToBoolean().Value()) {
    return throwBadArgument(env, "slab", "must have a fixed length");
  }
  const auto k = takeSize(env, info[1], "k");
  if (!k) return;
  const auto m = takeSize(env, info[2], "m");
  if (!m) return;
  if (*k < 1 || *k > kMaxDataShards) return throwBadArgument(env, "k", "must be 1 to 16");
  if (*m > kMaxParityShards) return throwBadArgument(env, "m", "must be 0 to 8");
  std::string driver = "auto";
  if (!info[3].IsUndefined()) {
    if (!info[3].IsString()) return throwBadArgument(env, "driver", "must be a string");
    driver = info[3].As<Napi::String>().Utf8Value();
  }
  Result<Coder> coder = Coder::create(static_cast<int>(*k), static_cast<int>(*m), driver);
  if (!coder.ok()) return throwCreateError(env, coder.error(), driver);
  coder_ = std::make_shared<const Coder>(coder.value());
  slab_ = Napi::Persistent(slab);
}

std::optional<CoderObject::Stripe> CoderObject::takeStripe(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto offset = takeSize(env, info[0], "stripeOffset");
  if (!offset) return std::nullopt;
  const auto shardLength = takeSize(env, info[1], "shardLength");
  if (!shardLength) return std::nullopt;
  const auto blobLength = takeSize(env, info[2], "blobLength");
  if (!blobLength) return std::nullopt;
  if (*offset % kAlignment != 0) {
    throwBadArgument(env, "stripeOffset", "must be a multiple of 64");
    return std::nullopt;
  }
  if (*shardLength == 0 || *shardLength % kBlockBytes != 0) {
    throwBadArgument(env, "shardLength", "must be a positive multiple of 4096");
    return std::nullopt;
  }
  const auto slab = takeBytes(env, slab_.Value(), "slab");
  if (!slab) return std::nullopt;
  const auto total = static_cast<size_t>(coder_->totalShards());
  // 24 shards of 2^53 bytes still fit 64 bits.
  if (!checkRange(env, *slab, *offset, total * *shardLength, "stripeOffset")) return std::nullopt;
  if (*blobLength > static_cast<size_t>(coder_->dataShards()) * *shardLength) {
    throwBadArgument(env, "blobLength", "must not be more than the data shards hold");
    return std::nullopt;
  }
  const auto crcs = takeUint32s(env, info[3], "crcOut", total * (*shardLength / kBlockBytes));
  if (!crcs) return std::nullopt;
  const auto hash = takeUint8s(env, info[4], "hashOut", sizeof(StripeHash));
  if (!hash) return std::nullopt;
  return Stripe{slab->at + *offset, *shardLength, *blobLength, *crcs, *hash};
}

void CoderObject::encodeStripe(const Napi::CallbackInfo& info) {
  const auto stripe = takeStripe(info);
  if (!stripe) return;
  const StripeHash hash =
      ec::encodeStripe(*coder_, stripe->at, stripe->shardLength, stripe->blobLength, stripe->crcs);
  std::copy(hash.begin(), hash.end(), stripe->hash);
}

void CoderObject::encodeStripeAsync(const Napi::CallbackInfo& info) {
  const auto stripe = takeStripe(info);
  if (!stripe) return;
  const auto callback = takeFunction(info.Env(), info[5], "callback");
  if (!callback) return;
  workers_->submit(info.Env(), std::make_unique<EncodeCall>(
                                   *callback, coder_, slab_.Value(), info[3], info[4], stripe->at,
                                   stripe->shardLength, stripe->blobLength));
}

bool CoderObject::takeOffsets(Napi::Env env, const Napi::Value& offsets, Shards& shards) {
  const auto total = static_cast<size_t>(coder_->totalShards());
  const auto slab = takeBytes(env, slab_.Value(), "slab");
  if (!slab) return false;
  const double* doubles = nullptr;
  const uint32_t* integers = nullptr;
  if (offsets.IsTypedArray() && offsets.As<Napi::TypedArray>().ElementLength() == total) {
    const auto type = offsets.As<Napi::TypedArray>().TypedArrayType();
    if (type == napi_float64_array) doubles = offsets.As<Napi::Float64Array>().Data();
    if (type == napi_uint32_array) integers = offsets.As<Napi::Uint32Array>().Data();
  }
  if (doubles == nullptr && integers == nullptr) {
    throwBadArgument(env, "shardOffsets",
                     "must be a Float64Array or Uint32Array of " + std::to_string(total));
    return false;
  }
  for (size_t s = 0; s < total; ++s) {
    if (((shards.present | shards.wanted) >> s & 1) == 0) continue;
    const double value = doubles != nullptr ? doubles[s] : integers[s];
    // Not a number fails the first comparison; so far below 2^53 the rest is exact.
    if (!(value >= 0) || value > static_cast<double>(slab->length) || value != std::floor(value) ||
        static_cast<size_t>(value) % kAlignment != 0) {
      throwBadArgument(
          env, "shardOffsets",
          "shard " + std::to_string(s) + " must be at a multiple of 64 inside the slab");
      return false;
    }
    const auto offset = static_cast<size_t>(value);
    if (!checkRange(env, *slab, offset, shards.length, "shardOffsets")) return false;
    shards.at[s] = slab->at + offset;
  }
  for (size_t w = 0; w < total; ++w) {
    if ((shards.wanted >> w & 1) == 0) continue;
    for (size_t s = 0; s < total; ++s) {
      if (s == w || shards.at[s] == nullptr) continue;
      if (!overlap(shards.at[w], shards.at[s], shards.length)) continue;
      throwBadArgument(
          env, "shardOffsets",
          "shard " + std::to_string(w) + " would be written over shard " + std::to_string(s));
      return false;
    }
  }
  return true;
}

std::optional<CoderObject::Shards> CoderObject::takeDecode(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto present = takeSize(env, info[1], "presentMask");
  if (!present) return std::nullopt;
  const auto wanted = takeSize(env, info[2], "wantedMask");
  if (!wanted) return std::nullopt;
  const auto length = takeSize(env, info[3], "shardLength");
  if (!length) return std::nullopt;
  const size_t all = (size_t{1} << coder_->totalShards()) - 1;
  if (*present > all || *wanted > all) {
    throwBadArgument(env, *present > all ? "presentMask" : "wantedMask",
                     "must not name a shard above " + std::to_string(coder_->totalShards() - 1));
    return std::nullopt;
  }
  Shards shards;
  shards.present = static_cast<uint32_t>(*present);
  shards.wanted = static_cast<uint32_t>(*wanted);
  shards.length = *length;
  const auto plan =
      planDecode(coder_->dataShards(), coder_->parityShards(), shards.present, shards.wanted);
  if (!plan.ok()) {
    throwDecodeError(env, plan.error());
    return std::nullopt;
  }
  if (!takeOffsets(env, info[0], shards)) return std::nullopt;
  return shards;
}

void CoderObject::reconstruct(const Napi::CallbackInfo& info) {
  const auto shards = takeDecode(info);
  if (!shards) return;
  const auto result =
      coder_->reconstruct(shards->at.data(), shards->present, shards->wanted, shards->length);
  if (!result.ok()) throwDecodeError(info.Env(), result.error());
}

void CoderObject::reconstructAsync(const Napi::CallbackInfo& info) {
  const auto shards = takeDecode(info);
  if (!shards) return;
  const auto callback = takeFunction(info.Env(), info[4], "callback");
  if (!callback) return;
  workers_->submit(info.Env(), std::make_unique<ReconstructCall>(*callback, coder_, slab_.Value(),
                                                                 shards->at, shards->present,
                                                                 shards->wanted, shards->length));
}

std::optional<CoderObject::Shards> CoderObject::takeVerify(const Napi::CallbackInfo& info) {
  const auto length = takeSize(info.Env(), info[1], "shardLength");
  if (!length) return std::nullopt;
  Shards shards;
  shards.present = (1u << coder_->totalShards()) - 1;
  shards.length = *length;
  if (!takeOffsets(info.Env(), info[0], shards)) return std::nullopt;
  return shards;
}

Napi::Value CoderObject::verify(const Napi::CallbackInfo& info) {
  const auto shards = takeVerify(info);
  if (!shards) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), coder_->verify(shards->at.data(), shards->length));
}

void CoderObject::verifyAsync(const Napi::CallbackInfo& info) {
  const auto shards = takeVerify(info);
  if (!shards) return;
  const auto callback = takeFunction(info.Env(), info[2], "callback");
  if (!callback) return;
  workers_->submit(info.Env(), std::make_unique<VerifyCall>(*callback, coder_, slab_.Value(),
                                                            shards->at, shards->length));
}

Napi::Value CoderObject::driver(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), coder_->driver());
}

}  // namespace nabu::ec::binding
