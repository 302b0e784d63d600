#include <napi.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "binding/fd_watcher.h"
#include "binding/typed_error.h"
#include "pulse/pulse.h"

namespace nabu::pulse {
namespace {

using binding::FdWatcher;
using binding::throwTyped;

constexpr std::uint32_t kLongestMs = 24 * 3600 * 1000;

Napi::Array arrayOf(Napi::Env env, const std::vector<std::uint32_t>& indexes) {
  Napi::Array array = Napi::Array::New(env, indexes.size());
  for (std::uint32_t i = 0; i < indexes.size(); ++i) array.Set(i, indexes[i]);
  return array;
}

// device-plugin/machine/pulse/native.ts: new Pulse(everyMs, hangMs, onNews), watch(kinds, paths),
// close().
class PulseObject : public Napi::ObjectWrap<PulseObject> {
 public:
  static Napi::Function define(Napi::Env env, std::set<PulseObject*>& alive) {
    return DefineClass(env, "Pulse",
                       {InstanceMethod<&PulseObject::watch>("watch"),
                        InstanceMethod<&PulseObject::close>("close")},
                       &alive);
  }

  explicit PulseObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<PulseObject>(info),
        alive_(*static_cast<std::set<PulseObject*>*>(info.Data())) {
    const Napi::Env env = info.Env();
    PulseOptions options;
    if (!takeMs(info[0], "everyMs", options.every) || !takeMs(info[1], "hangMs", options.hang)) {
      return;
    }
    if (!info[2].IsFunction()) {
      throwTyped(env, "INVALID_ARGUMENT", {{"field", "onNews"}, {"reason", "must be a function"}});
      return;
    }
    int error = 0;
    auto pulse = Pulse::start(std::move(options), error);
    if (!pulse) {
      throwTyped(env, "RESOURCE_EXHAUSTED",
                 {{"resource", "threads or descriptors"}, {"reason", std::strerror(error)}});
      return;
    }
    uv_loop_t* loop = nullptr;
    const bool hasLoop = napi_get_uv_event_loop(env, &loop) == napi_ok;
    auto watcher = hasLoop ? FdWatcher::start(loop, pulse->fd(), [this] { deliver(); })
                           : std::unique_ptr<FdWatcher>();
    if (!watcher) {
      throwTyped(env, "RESOURCE_EXHAUSTED",
                 {{"resource", "descriptors"}, {"reason", "the loop takes no descriptor"}});
      return;
    }
    pulse_ = std::move(pulse);
    watcher_ = std::move(watcher);
    callback_ = Napi::Persistent(info[2].As<Napi::Function>());
    alive_.insert(this);
    Ref();  // until closed: who forgets it would hear nothing
  }

  ~PulseObject() override { shutDown(); }

  // The environment ends, or JavaScript has enough. Once only: `alive_` is gone before an object
  // that the end of the environment finds shut down.
  void shutDown() {
    if (!pulse_) return;
    watcher_.reset();
    pulse_.reset();
    callback_.Reset();
    alive_.erase(this);
  }

 private:
  bool takeMs(const Napi::Value& value, const char* field, std::chrono::milliseconds& ms) {
    const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : 0;
    if (!(number >= 1 && number <= kLongestMs)) {
      throwTyped(Env(), "INVALID_ARGUMENT",
                 {{"field", field}, {"reason", "must be 1 to 86400000 milliseconds"}});
      return false;
    }
    ms = std::chrono::milliseconds(static_cast<std::int64_t>(number));
    return true;
  }

  // (kinds: Uint8Array, paths: string[]) -> the number of this watch
  Napi::Value watch(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!pulse_) {
      throwTyped(env, "FAILED_PRECONDITION", {{"operation", "watch"}, {"reason", "it is closed"}});
      return env.Undefined();
    }
    const bool areLists = info[0].IsTypedArray() && info[1].IsArray() &&
                          info[0].As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array;
    const std::size_t count = areLists ? info[0].As<Napi::Uint8Array>().ElementLength() : 0;
    if (!areLists || info[1].As<Napi::Array>().Length() != count) {
      throwTyped(
          env, "INVALID_ARGUMENT",
          {{"field", "probes"}, {"reason", "must be a Uint8Array and as many paths beside it"}});
      return env.Undefined();
    }
    const auto kinds = info[0].As<Napi::Uint8Array>();
    const auto paths = info[1].As<Napi::Array>();
    std::vector<Probe> probes;
    probes.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
      const Napi::Value path = paths.Get(i);
      if (env.IsExceptionPending()) return env.Undefined();
      const std::uint8_t kind = kinds[i];
      if (!path.IsString() || kind > static_cast<std::uint8_t>(ProbeKind::kNode)) {
        throwTyped(env, "INVALID_ARGUMENT",
                   {{"field", "probes"}, {"reason", "a path is no text, or a kind is unknown"}});
        return env.Undefined();
      }
      probes.push_back({static_cast<ProbeKind>(kind), path.As<Napi::String>().Utf8Value()});
    }
    return Napi::Number::New(env, static_cast<double>(pulse_->watch(probes)));
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (pulse_) {
      shutDown();
      Unref();
    }
    return info.Env().Undefined();
  }

  // onNews(settled, changed, hanging)
  void deliver() {
    const Napi::Env env = Env();
    const Napi::HandleScope scope(env);
    const News news = pulse_->take();
    callback_.MakeCallback(env.Global(), {Napi::Number::New(env, static_cast<double>(news.settled)),
                                          arrayOf(env, news.changed), arrayOf(env, news.hanging)});
    if (env.IsExceptionPending()) {
      napi_fatal_exception(env, env.GetAndClearPendingException().Value());
    }
  }

  std::set<PulseObject*>& alive_;
  std::unique_ptr<Pulse> pulse_;
  std::unique_ptr<FdWatcher> watcher_;  // gone before the descriptor it watches
  Napi::FunctionReference callback_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Freed after the hook below.
  auto owned = std::make_unique<std::set<PulseObject*>>();
  std::set<PulseObject*>& alive = *owned;
  env.SetInstanceData<std::set<PulseObject*>>(owned.release());
  env.AddCleanupHook(
      [](std::set<PulseObject*>* objects) {
        const std::set<PulseObject*> open = *objects;
        for (PulseObject* object : open) object->shutDown();
      },
      &alive);
  exports.Set("Pulse", PulseObject::define(env, alive));
  return exports;
}

}  // namespace
}  // namespace nabu::pulse

static Napi::Object InitPulse(Napi::Env env, Napi::Object exports) {
  return nabu::pulse::init(env, exports);
}
NODE_API_MODULE(pulse, InitPulse)
