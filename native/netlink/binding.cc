#include <napi.h>

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "binding/fd_watcher.h"
#include "binding/typed_error.h"
#include "netlink/listener.h"

namespace nabu::netlink {
namespace {

using binding::FdWatcher;
using binding::throwTyped;

Napi::Object objectOf(Napi::Env env, const Event& event) {
  Napi::Object object = Napi::Object::New(env);
  if (const auto* uevent = std::get_if<Uevent>(&event)) {
    object.Set("kind", "device");
    object.Set("action", uevent->action);
    object.Set("devicePath", uevent->devicePath);
    object.Set("subsystem", uevent->subsystem);
  } else if (const auto* link = std::get_if<LinkChange>(&event)) {
    object.Set("kind", "link");
    object.Set("action", link->removed ? "removed" : "new");
    object.Set("name", link->name);
  }
  return object;
}

// device-plugin/machine/netlink/native.ts: new Listener(onEvents), counts(), close().
class ListenerObject : public Napi::ObjectWrap<ListenerObject> {
 public:
  static Napi::Function define(Napi::Env env, std::set<ListenerObject*>& alive) {
    return DefineClass(env, "Listener",
                       {InstanceMethod<&ListenerObject::counts>("counts"),
                        InstanceMethod<&ListenerObject::close>("close")},
                       &alive);
  }

  explicit ListenerObject(const Napi::CallbackInfo& info)
      : Napi::ObjectWrap<ListenerObject>(info),
        alive_(*static_cast<std::set<ListenerObject*>*>(info.Data())) {
    const Napi::Env env = info.Env();
    if (!info[0].IsFunction()) {
      throwTyped(env, "INVALID_ARGUMENT",
                 {{"field", "onEvents"}, {"reason", "must be a function"}});
      return;
    }
    auto opened = Listener::open();
    if (const auto* error = std::get_if<OpenError>(&opened)) {
      throwTyped(env, "UNAVAILABLE",
                 {{"target", "the kernel's events"},
                  {"reason", error->operation + ": " + std::strerror(error->error)}});
      return;
    }
    auto listener = std::make_unique<Listener>(std::move(std::get<Listener>(opened)));
    uv_loop_t* loop = nullptr;
    const bool hasLoop = napi_get_uv_event_loop(env, &loop) == napi_ok;
    auto watcher = hasLoop ? FdWatcher::start(loop, listener->fd(), [this] { deliver(); })
                           : std::unique_ptr<FdWatcher>();
    if (!watcher) {
      throwTyped(env, "UNAVAILABLE",
                 {{"target", "the kernel's events"}, {"reason", "the loop takes no descriptor"}});
      return;
    }
    listener_ = std::move(listener);
    watcher_ = std::move(watcher);
    callback_ = Napi::Persistent(info[0].As<Napi::Function>());
    alive_.insert(this);
    Ref();  // until closed: who forgets it would hear nothing
  }

  ~ListenerObject() override { shutDown(); }

  // The environment ends, or JavaScript has enough. Once only: `alive_` is gone before an object
  // that the end of the environment finds shut down.
  void shutDown() {
    if (!listener_) return;
    watcher_.reset();
    listener_.reset();
    callback_.Reset();
    alive_.erase(this);
  }

 private:
  Napi::Value counts(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Counts counts = listener_ ? listener_->counts() : closedCounts_;
    Napi::Object object = Napi::Object::New(env);
    object.Set("events", static_cast<double>(counts.events));
    object.Set("foreign", static_cast<double>(counts.foreign));
    object.Set("malformed", static_cast<double>(counts.malformed));
    object.Set("overflows", static_cast<double>(counts.overflows));
    return object;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (listener_) {
      closedCounts_ = listener_->counts();
      shutDown();
      Unref();
    }
    return info.Env().Undefined();
  }

  // onEvents(events): {kind: 'overflow'} and {kind: 'ended', reason} come last.
  void deliver() {
    const Napi::Env env = Env();
    const Napi::HandleScope scope(env);
    const Batch batch = listener_->take();
    Napi::Array events = Napi::Array::New(env);
    std::uint32_t count = 0;
    for (const Event& event : batch.events) events.Set(count++, objectOf(env, event));
    if (batch.lost) {
      Napi::Object overflow = Napi::Object::New(env);
      overflow.Set("kind", "overflow");
      events.Set(count++, overflow);
    }
    if (batch.failure != 0) {
      watcher_.reset();
      Napi::Object ended = Napi::Object::New(env);
      ended.Set("kind", "ended");
      ended.Set("reason", std::strerror(batch.failure));
      events.Set(count++, ended);
    }
    if (count == 0 || env.IsExceptionPending()) return;
    callback_.MakeCallback(env.Global(), {events});
    if (env.IsExceptionPending()) {
      napi_fatal_exception(env, env.GetAndClearPendingException().Value());
    }
  }

  std::set<ListenerObject*>& alive_;
  std::unique_ptr<Listener> listener_;
  std::unique_ptr<FdWatcher> watcher_;  // gone before the descriptor it watches
  Napi::FunctionReference callback_;
  Counts closedCounts_;
};

Napi::Object init(Napi::Env env, Napi::Object exports) {
  // Freed after the hook below.
  auto owned = std::make_unique<std::set<ListenerObject*>>();
  std::set<ListenerObject*>& alive = *owned;
  env.SetInstanceData<std::set<ListenerObject*>>(owned.release());
  env.AddCleanupHook(
      [](std::set<ListenerObject*>* objects) {
        const std::set<ListenerObject*> open = *objects;
        for (ListenerObject* object : open) object->shutDown();
      },
      &alive);
  exports.Set("Listener", ListenerObject::define(env, alive));
  return exports;
}

}  // namespace
}  // namespace nabu::netlink

static Napi::Object InitNetlink(Napi::Env env, Napi::Object exports) {
  return nabu::netlink::init(env, exports);
}
NODE_API_MODULE(netlink, InitNetlink)
