#include "ec/binding/workers.h"

#include <string>
#include <utility>

#include "binding/typed_error.h"

namespace nabu::ec::binding {

void AsyncCall::finish(Napi::Env env) {
  const Napi::HandleScope scope(env);
  const Napi::Value value = deliver(env);
  if (env.IsExceptionPending()) {
    callback_.Call({env.GetAndClearPendingException().Value()});
  } else {
    callback_.Call({env.Null(), value});
  }
  // One callback that throws must not cost the others of the batch theirs.
  if (env.IsExceptionPending()) {
    napi_fatal_exception(env, env.GetAndClearPendingException().Value());
  }
}

bool Workers::configure(size_t threads, size_t queueLimit) {
  if (queue_) return false;
  threads_ = threads;
  queueLimit_ = queueLimit;
  return true;
}

void Workers::submit(Napi::Env env, std::unique_ptr<AsyncCall> call) {
  if (!queue_ && !start(env)) return;
  std::unique_ptr<Job> job = std::move(call);
  if (!queue_->submit(job)) {
    nabu::binding::throwTyped(
        env, "QUEUE_FULL",
        {{"queue", "erasure coding"}, {"limit", std::to_string(queue_->limit())}});
    return;
  }
  if (out_++ == 0) napi_ref_threadsafe_function(env, signal_);
}

bool Workers::start(Napi::Env env) {
  const auto callDrain = [](napi_env callEnv, napi_value, void* self, void*) {
    // No environment: it is going away, and stop() has dropped or will drop the jobs.
    if (callEnv != nullptr) static_cast<Workers*>(self)->drain(callEnv);
  };
  const Napi::String name = Napi::String::New(env, "nabu erasure coding");
  napi_status status = napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr,
                                                       nullptr, this, callDrain, &signal_);
  if (status == napi_ok) status = napi_unref_threadsafe_function(env, signal_);
  // Hooks run last in, first out: this one ends the threads before the thread-safe function's own
  // hook closes it.
  if (status == napi_ok) status = napi_add_env_cleanup_hook(env, stop, this);
  if (status != napi_ok) {
    nabu::binding::throwTyped(
        env, "RESOURCE_EXHAUSTED",
        {{"resource", "worker threads"}, {"reason", "the environment is closing"}});
    return false;
  }
  queue_ = std::make_unique<WorkQueue>(static_cast<int>(threads_), queueLimit_, [signal = signal_] {
    napi_call_threadsafe_function(signal, nullptr, napi_tsfn_nonblocking);
  });
  return true;
}

void Workers::drain(Napi::Env env) {
  if (!queue_) return;
  auto jobs = queue_->collect();
  out_ -= jobs.size();
  // The queue holds nothing but what this class submitted.
  for (const auto& job : jobs) static_cast<AsyncCall&>(*job).finish(env);
  if (out_ == 0) napi_unref_threadsafe_function(env, signal_);
}

void Workers::stop(void* self) {
  auto* workers = static_cast<Workers*>(self);
  workers->queue_.reset();
  napi_release_threadsafe_function(workers->signal_, napi_tsfn_abort);
}

}  // namespace nabu::ec::binding
