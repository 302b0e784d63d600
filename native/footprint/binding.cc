#include <napi.h>

#include <cstring>

#include "binding/typed_error.h"
#include "footprint/footprint.h"

namespace nabu::footprint {
namespace {

// device-plugin/footprint/native.ts: giveBack() -> bytes of files that were let go of
Napi::Value giveBackBinding(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  int error = 0;
  const auto returned = giveBack("/proc/self/smaps", error);
  if (!returned) {
    binding::throwTyped(env, "FILE_INVALID",
                        {{"path", "/proc/self/smaps"}, {"reason", std::strerror(error)}});
    return env.Undefined();
  }
  return Napi::Number::New(env, static_cast<double>(returned->fileBytes));
}

}  // namespace
}  // namespace nabu::footprint

static Napi::Object InitFootprint(Napi::Env env, Napi::Object exports) {
  exports.Set("giveBack", Napi::Function::New(env, nabu::footprint::giveBackBinding, "giveBack"));
  return exports;
}
NODE_API_MODULE(footprint, InitFootprint)
