#pragma once

#include <napi.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include "volume/binding/errors.h"
#include "volume/binding/event_queue.h"
#include "volume/core/request.h"

namespace nabu::volume::binding {

// A request of the frontend 'direct': a call from JavaScript with a promise.
class DirectRequest : public Request {
 public:
  explicit DirectRequest(Napi::Env env) : deferred(Napi::Promise::Deferred::New(env)) {}
  Napi::Promise::Deferred deferred;
};

// Answers come from any thread; promises are settled on the JavaScript thread.
class DirectSink : public RequestSink {
 public:
  DirectSink(EventQueue& events, std::string volumeId)
      : events_(events), volumeId_(std::move(volumeId)) {}
  ~DirectSink() override {
    for (DirectRequest* request : open_) delete request;
  }

  DirectRequest& make(Napi::Env env) {
    auto request = std::make_unique<DirectRequest>(env);
    request->sink = this;
    const std::lock_guard lock(mutex_);
    open_.insert(request.get());
    return *request.release();
  }

  void answer(Request& request, int error) override {
    const auto deferred = static_cast<DirectRequest&>(request).deferred;
    events_.post([this, deferred, error](Napi::Env env) { settle(env, deferred, error); });
  }
  void release(Request& request) override {
    auto* direct = static_cast<DirectRequest*>(&request);
    const std::lock_guard lock(mutex_);
    open_.erase(direct);
    delete direct;
  }
  void settle(Napi::Env env, const Napi::Promise::Deferred& deferred, int error) const {
    if (error == 0) {
      deferred.Resolve(env.Undefined());
    } else if (error == ECANCELED) {
      deferred.Reject(toJsError(env, {Failure::kClosed, "volume", "it was closed"}));
    } else {
      deferred.Reject(toJsError(env, {Failure::kLost, "volume block", std::strerror(error)}));
    }
  }

 private:
  EventQueue& events_;
  std::string volumeId_;
  std::mutex mutex_;
  std::set<DirectRequest*> open_;
};

}  // namespace nabu::volume::binding
