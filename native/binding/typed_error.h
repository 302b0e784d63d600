#pragma once

#include <napi.h>

#include <initializer_list>
#include <string>
#include <utility>

namespace nabu::binding {

using ErrorField = std::pair<const char*, std::string>;

// A JavaScript Error that common/errors `fromNative` turns into the NabuError of that code: `code`
// is a name of the registry, `fields` fill its template.
inline Napi::Error typedError(Napi::Env env, const char* code,
                              std::initializer_list<ErrorField> fields) {
  Napi::Error error = Napi::Error::New(env, code);
  Napi::Object values = Napi::Object::New(env);
  for (const auto& [name, value] : fields) values.Set(name, value);
  error.Set("code", Napi::String::New(env, code));
  error.Set("fields", values);
  return error;
}

// Leaves the exception pending: the caller returns at once. C++ exceptions stay off in bindings.
inline void throwTyped(Napi::Env env, const char* code, std::initializer_list<ErrorField> fields) {
  typedError(env, code, fields).ThrowAsJavaScriptException();
}

}  // namespace nabu::binding
