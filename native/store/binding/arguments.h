#pragma once

#include <napi.h>

#include <cmath>
#include <cstdint>
#include <optional>

#include "binding/typed_error.h"

namespace nabu::store::binding {

// Each leaves INVALID_ARGUMENT pending and gives nothing when the value is not what it must be.

inline void throwBadArgument(Napi::Env env, const char* field, const char* reason) {
  nabu::binding::throwTyped(env, "INVALID_ARGUMENT", {{"field", field}, {"reason", reason}});
}

/** A whole number of 0 to 2^53-1. */
inline std::optional<uint64_t> takeNumber(Napi::Env env, const Napi::Value& value,
                                          const char* field) {
  if (value.IsNumber()) {
    const double number = value.As<Napi::Number>().DoubleValue();
    if (number >= 0 && number <= 9007199254740991.0 && number == std::floor(number)) {
      return static_cast<uint64_t>(number);
    }
  }
  throwBadArgument(env, field, "must be a whole number of at least 0");
  return std::nullopt;
}

inline std::optional<uint64_t> takeU64(Napi::Env env, const Napi::Value& value, const char* field) {
  if (value.IsBigInt()) {
    bool lossless = false;
    const uint64_t number = value.As<Napi::BigInt>().Uint64Value(&lossless);
    if (lossless) return number;
  }
  throwBadArgument(env, field, "must be a bigint of 0 to 2^64-1");
  return std::nullopt;
}

struct Bytes {
  const uint8_t* at = nullptr;
  size_t length = 0;
};

/** A Uint8Array of that many bytes (0: any number). Valid until control returns to JavaScript. */
inline std::optional<Bytes> takeBytes(Napi::Env env, const Napi::Value& value, const char* field,
                                      size_t length = 0) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    if (array.TypedArrayType() == napi_uint8_array &&
        (length == 0 || array.ByteLength() == length)) {
      const auto bytes = value.As<Napi::Uint8Array>();
      return Bytes{bytes.Data(), bytes.ByteLength()};
    }
  }
  throwBadArgument(env, field, "must be a Uint8Array of the right length");
  return std::nullopt;
}

inline std::optional<uint64_t*> takeU64s(Napi::Env env, const Napi::Value& value, const char* field,
                                         size_t least, size_t& length) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    if (array.TypedArrayType() == napi_biguint64_array && array.ElementLength() >= least) {
      length = array.ElementLength();
      return value.As<Napi::BigUint64Array>().Data();
    }
  }
  throwBadArgument(env, field, "must be a BigUint64Array");
  return std::nullopt;
}

}  // namespace nabu::store::binding
