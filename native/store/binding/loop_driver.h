#pragma once

#include <uv.h>

#include <cstdint>
#include <memory>

#include "store/store.h"

namespace nabu::store::binding {

/**
 * Drives a store from the event loop of its thread: completions through the ring's eventfd,
 * submissions once per turn before the loop blocks, background work by a slow timer. Handles close
 * asynchronously and free themselves.
 */
class LoopDriver {
 public:
  struct Sink {
    virtual void poll() = 0;
    virtual bool hasResults() const = 0;

   protected:
    ~Sink() = default;
  };

  static constexpr uint64_t kTickMs = 10;

  LoopDriver(uv_loop_t* loop, Store& store, Sink& sink);
  /** Stops at once. The memory of the handles lives until the loop has let go of them. */
  ~LoopDriver();
  LoopDriver(const LoopDriver&) = delete;

  /** After each call into the store: what has to be waited for. `busy`: the process must not end
   * yet. */
  void update(bool busy);

 private:
  struct Handles {
    LoopDriver* driver = nullptr;
    int open = 0;
    uv_poll_t events;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer;
  };
  static LoopDriver* of(void* data) { return static_cast<Handles*>(data)->driver; }
  void run();

  Store& store_;
  Sink& sink_;
  Handles* handles_;  // freed by the last close callback
  bool hasEvents_ = false;
  bool idling_ = false;
  bool ticking_ = false;
  bool busy_ = false;
};

}  // namespace nabu::store::binding
