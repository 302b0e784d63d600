#pragma once

#include <napi.h>

#include <memory>

#include "volume/core/types.h"

namespace nabu::volume::binding {

// Per environment: what turns a code and its fields into the project's error.
struct AddonState {
  Napi::FunctionReference makeError;
};

/** The JavaScript error for `error`. `closed` is what calls into a closed volume give; promises of
 * it reject with ABORTED. */
Napi::Value toJsError(Napi::Env env, const Error& error);
void throwError(Napi::Env env, const Error& error);
void rejectWith(Napi::Env env, const std::shared_ptr<Napi::Promise::Deferred>& deferred,
                const Error& error);
void throwBadArgument(Napi::Env env, const char* field, const char* reason);

}  // namespace nabu::volume::binding
