#include "volume/binding/errors.h"

#include "binding/typed_error.h"

namespace nabu::volume::binding {
namespace {

Napi::Error typed(Napi::Env env, const Error& error) {
  using nabu::binding::typedError;
  switch (error.failure) {
    case Failure::kBadArgument:
      return typedError(env, "INVALID_ARGUMENT",
                        {{"field", error.subject}, {"reason", error.reason}});
    case Failure::kWrongState:
      return typedError(env, "FAILED_PRECONDITION",
                        {{"operation", error.subject}, {"reason", error.reason}});
    case Failure::kInvalidImage:
      return typedError(env, "LOG_IMAGE_INVALID", {{"reason", error.reason}});
    case Failure::kUnknownFormat:
      return typedError(env, "FORMAT_UNKNOWN",
                        {{"what", error.subject}, {"found", error.reason}, {"supported", "1"}});
    case Failure::kNoRoom:
      return typedError(env, "RESOURCE_EXHAUSTED",
                        {{"resource", error.subject}, {"reason", error.reason}});
    case Failure::kLost:
      return typedError(env, "VOLUME_IO",
                        {{"operation", "reading a " + error.subject},
                         {"volumeId", ""},
                         {"reason", error.reason}});
    case Failure::kClosed:
      return typedError(
          env, "ABORTED",
          {{"operation", "a call into the " + error.subject}, {"reason", error.reason}});
    case Failure::kSystem:
      return typedError(env, "COMMAND_FAILED",
                        {{"command", error.subject}, {"reason", error.reason}});
  }
  return typedError(env, "INVALID_ARGUMENT", {{"field", error.subject}, {"reason", error.reason}});
}

}  // namespace

Napi::Value toJsError(Napi::Env env, const Error& error) {
  const Napi::Error plain = typed(env, error);
  auto* state = env.GetInstanceData<AddonState>();
  if (state == nullptr || state->makeError.IsEmpty()) return plain.Value();
  const Napi::Value made =
      state->makeError.Call({plain.Value().Get("code"), plain.Value().Get("fields")});
  if (!env.IsExceptionPending() && made.IsObject()) return made;
  if (env.IsExceptionPending()) (void)env.GetAndClearPendingException();
  return plain.Value();
}

void throwError(Napi::Env env, const Error& error) { napi_throw(env, toJsError(env, error)); }

void rejectWith(Napi::Env env, const std::shared_ptr<Napi::Promise::Deferred>& deferred,
                const Error& error) {
  deferred->Reject(toJsError(env, error));
}

void throwBadArgument(Napi::Env env, const char* field, const char* reason) {
  throwError(env, {Failure::kBadArgument, field, reason});
}

}  // namespace nabu::volume::binding
