#pragma once

#include <napi.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "ec/binding/arguments.h"
#include "ec/binding/workers.h"
#include "ec/coder.h"

namespace nabu::ec::binding {

/**
 * new Coder(slab: ArrayBuffer, k, m, driver = 'auto'): a code over shards of one slab, named by
 * their offsets. The slab is kept alive; it must not be transferred away while asynchronous work is
 * out.
 */
class CoderObject : public Napi::ObjectWrap<CoderObject> {
 public:
  static Napi::Function define(Napi::Env env, Workers& workers);

  explicit CoderObject(const Napi::CallbackInfo& info);

 private:
  struct Stripe {
    uint8_t* at;
    size_t shardLength;
    size_t blobLength;
    uint32_t* crcs;
    uint8_t* hash;
  };
  struct Shards {
    std::array<uint8_t*, kMaxShards> at{};
    uint32_t present = 0;
    uint32_t wanted = 0;
    size_t length = 0;
  };

  // (stripeOffset, shardLength, blobLength, crcOut: Uint32Array, hashOut: Uint8Array(16)[,
  // callback])
  void encodeStripe(const Napi::CallbackInfo& info);
  void encodeStripeAsync(const Napi::CallbackInfo& info);
  // (shardOffsets: Float64Array | Uint32Array of k + m, presentMask, wantedMask, shardLength[,
  // callback])
  void reconstruct(const Napi::CallbackInfo& info);
  void reconstructAsync(const Napi::CallbackInfo& info);
  // (shardOffsets, shardLength[, callback]) -> index of the first wrong parity shard, or -1
  Napi::Value verify(const Napi::CallbackInfo& info);
  void verifyAsync(const Napi::CallbackInfo& info);
  Napi::Value driver(const Napi::CallbackInfo& info);

  /** The constructor's work; it leaves an exception pending when an argument is wrong. */
  void build(const Napi::CallbackInfo& info);
  std::optional<Stripe> takeStripe(const Napi::CallbackInfo& info);
  std::optional<Shards> takeDecode(const Napi::CallbackInfo& info);
  std::optional<Shards> takeVerify(const Napi::CallbackInfo& info);
  bool takeOffsets(Napi::Env env, const Napi::Value& offsets, Shards& shards);

  Workers* workers_;
  Napi::Reference<Napi::ArrayBuffer> slab_;
  /** Shared with the jobs that are out. */
  std::shared_ptr<const Coder> coder_;
};

}  // namespace nabu::ec::binding
