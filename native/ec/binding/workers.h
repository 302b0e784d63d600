#pragma once

#include <napi.h>

#include <cstddef>
#include <memory>

#include "ec/work_queue.h"

namespace nabu::ec::binding {

/** A job that JavaScript asked for. Made, finished and destroyed on the JavaScript thread; only
 * run() is elsewhere. */
class AsyncCall : public Job {
 public:
  explicit AsyncCall(Napi::Function callback) : callback_(Napi::Persistent(callback)) {}

  /** Calls back with (error) or (null, value). */
  void finish(Napi::Env env);

 protected:
  /** Puts results where JavaScript finds them. A pending exception becomes the error. */
  virtual Napi::Value deliver(Napi::Env env) = 0;

 private:
  Napi::FunctionReference callback_;
};

/**
 * The threads of one environment (the process or a worker thread of Node), started by the first
 * job. Completions reach the JavaScript thread in batches through one thread-safe function, which
 * keeps the event loop alive only while jobs are out.
 */
class Workers {
 public:
  static constexpr size_t kMaxThreads = 64;
  static constexpr size_t kMaxQueueLimit = 65536;

  Workers() = default;
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /** False when the threads run already. */
  bool configure(size_t threads, size_t queueLimit);

  /** Leaves QUEUE_FULL pending when no more may be out, RESOURCE_EXHAUSTED when the environment is
   * closing. */
  void submit(Napi::Env env, std::unique_ptr<AsyncCall> call);

 private:
  bool start(Napi::Env env);
  void drain(Napi::Env env);
  /** Joins the threads. Jobs that were not finished are dropped without a call back: nobody is left
   * to take it. */
  static void stop(void* self);

  size_t threads_ = 1;
  size_t queueLimit_ = 256;
  size_t out_ = 0;
  napi_threadsafe_function signal_ = nullptr;
  std::unique_ptr<WorkQueue> queue_;
};

}  // namespace nabu::ec::binding
