#pragma once

#include <napi.h>

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "volume/core/volume.h"

namespace nabu::volume::binding {

// Carries what native threads have to say to the JavaScript thread: events as rows of doubles, and
// direct requests that were answered. One thread-safe function, woken once per batch. That function
// may still run after its environment has begun to end, so it owns a share of the queue.
class EventQueue final : public VolumeEvents {
 public:
  static constexpr std::size_t kFields = 6;
  using Row = std::array<double, kFields>;
  using Task = std::function<void(Napi::Env)>;

  /** handler(Float64Array, rows) is called on the JavaScript thread, never from inside a call of
   * ours. */
  static std::shared_ptr<EventQueue> create(Napi::Env env, Napi::Function handler);

  void sealWanted(SealReason reason, std::uint64_t pendingBytes) override;
  void fetch(std::span<const FetchWanted> fetches) override;
  void checkpointWanted(std::size_t dirtyPages, bool blocked) override;
  void frontendClosed(int error);
  /** Runs the task on the JavaScript thread. */
  void post(Task task);
  /** The environment ends: no JavaScript may run any more, so nobody is told of anything.
   * JavaScript thread. */
  void abandon();
  /** Nothing is delivered afterwards; what was posted still runs, once, from here. JavaScript
   * thread. */
  void close(Napi::Env env);

 private:
  EventQueue() = default;
  static constexpr std::size_t kRowsPerCall = 256;
  void push(std::span<const Row> rows);
  void wake();
  void deliver(Napi::Env env, Napi::Function handler);
  static void onWake(Napi::Env env, Napi::Function handler, EventQueue* queue, void*);
  using Wakeup = Napi::TypedThreadSafeFunction<EventQueue, void, onWake>;

  std::mutex mutex_;
  std::vector<Row> rows_;
  std::vector<Task> tasks_;
  bool woken_ = false;
  bool closed_ = false;
  Wakeup wakeup_;
  Napi::Reference<Napi::Float64Array> array_;
};

}  // namespace nabu::volume::binding
