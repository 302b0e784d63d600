#include "ec/binding/arguments.h"

#include <cmath>

#include "binding/typed_error.h"

namespace nabu::ec::binding {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

/** The typed array of that element type, or nothing with the error pending. */
std::optional<Napi::TypedArray> takeTypedArray(Napi::Env env, const Napi::Value& value,
                                               const char* field, napi_typedarray_type type,
                                               const char* typeName) {
  if (value.IsTypedArray()) {
    const auto array = value.As<Napi::TypedArray>();
    if (array.TypedArrayType() == type) return array;
  }
  throwBadArgument(env, field, std::string("must be a ") + typeName);
  return std::nullopt;
}

}  // namespace

void throwBadArgument(Napi::Env env, const char* field, const std::string& reason) {
  nabu::binding::throwTyped(env, "INVALID_ARGUMENT", {{"field", field}, {"reason", reason}});
}

std::optional<size_t> takeSize(Napi::Env env, const Napi::Value& value, const char* field) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : -1;
  if (number >= 0 && number <= kMaxSafeInteger && number == std::floor(number)) {
    return static_cast<size_t>(number);
  }
  throwBadArgument(env, field, "must be a whole number from 0 to 2^53 - 1");
  return std::nullopt;
}

std::optional<Bytes> takeBytes(Napi::Env env, const Napi::Value& value, const char* field) {
  void* at = nullptr;
  size_t length = 0;
  napi_status status = napi_invalid_arg;
  if (value.IsArrayBuffer()) {
    status = napi_get_arraybuffer_info(env, value, &at, &length);
  } else if (value.IsTypedArray() || value.IsDataView()) {
    status = napi_get_buffer_info(env, value, &at, &length);
  }
  if (status == napi_ok) return Bytes{static_cast<uint8_t*>(at), at == nullptr ? 0 : length};
  throwBadArgument(env, field, "must be an ArrayBuffer or a view of one");
  return std::nullopt;
}

std::optional<uint32_t*> takeUint32s(Napi::Env env, const Napi::Value& value, const char* field,
                                     size_t least) {
  const auto array = takeTypedArray(env, value, field, napi_uint32_array, "Uint32Array");
  if (!array) return std::nullopt;
  if (array->ElementLength() >= least) return array->As<Napi::Uint32Array>().Data();
  throwBadArgument(env, field,
                   "must have room for " + std::to_string(least) + " elements, it has " +
                       std::to_string(array->ElementLength()));
  return std::nullopt;
}

std::optional<uint8_t*> takeUint8s(Napi::Env env, const Napi::Value& value, const char* field,
                                   size_t length) {
  const auto array = takeTypedArray(env, value, field, napi_uint8_array, "Uint8Array");
  if (!array) return std::nullopt;
  if (array->ElementLength() == length) return array->As<Napi::Uint8Array>().Data();
  throwBadArgument(env, field,
                   "must have " + std::to_string(length) + " bytes, not " +
                       std::to_string(array->ElementLength()));
  return std::nullopt;
}

std::optional<Napi::Function> takeFunction(Napi::Env env, const Napi::Value& value,
                                           const char* field) {
  if (value.IsFunction()) return value.As<Napi::Function>();
  throwBadArgument(env, field, "must be a function");
  return std::nullopt;
}

bool checkRange(Napi::Env env, const Bytes& bytes, size_t offset, size_t length,
                const char* field) {
  if (offset <= bytes.length && length <= bytes.length - offset) return true;
  nabu::binding::throwTyped(
      env, "OUT_OF_RANGE",
      {{"field", field},
       {"reason", std::to_string(length) + " bytes at " + std::to_string(offset) +
                      " are not inside the buffer of " + std::to_string(bytes.length) + " bytes"}});
  return false;
}

}  // namespace nabu::ec::binding
