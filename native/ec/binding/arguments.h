#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace nabu::ec::binding {

/** Bytes of a JavaScript buffer, as they lie right now: valid until control returns to JavaScript.
 */
struct Bytes {
  uint8_t* at;
  size_t length;
};

// Each of these leaves INVALID_ARGUMENT pending and gives nothing when the value is not what it
// must be.

/** A whole number of 0..2^53-1; slabs may be larger than 4 GiB, so sizes travel as doubles. */
std::optional<size_t> takeSize(Napi::Env env, const Napi::Value& value, const char* field);

/** An ArrayBuffer, typed array, DataView or Buffer. A detached one has no bytes. */
std::optional<Bytes> takeBytes(Napi::Env env, const Napi::Value& value, const char* field);

/** A Uint32Array of at least `least` elements. */
std::optional<uint32_t*> takeUint32s(Napi::Env env, const Napi::Value& value, const char* field,
                                     size_t least);

/** A Uint8Array of exactly `length` bytes. */
std::optional<uint8_t*> takeUint8s(Napi::Env env, const Napi::Value& value, const char* field,
                                   size_t length);

std::optional<Napi::Function> takeFunction(Napi::Env env, const Napi::Value& value,
                                           const char* field);

/** False, with the error pending, when [offset, offset + length) is not inside the bytes. */
bool checkRange(Napi::Env env, const Bytes& bytes, size_t offset, size_t length, const char* field);

void throwBadArgument(Napi::Env env, const char* field, const std::string& reason);

}  // namespace nabu::ec::binding
