#include "store/binding/loop_driver.h"

namespace nabu::store::binding {
namespace {

template <class Handle>
uv_handle_t* base(Handle& handle) {
  return reinterpret_cast<uv_handle_t*>(&handle);
}

}  // namespace

LoopDriver::LoopDriver(uv_loop_t* loop, Store& store, Sink& sink)
    : store_(store), sink_(sink), handles_(new Handles()) {
  handles_->driver = this;
  uv_prepare_init(loop, &handles_->prepare);
  uv_check_init(loop, &handles_->check);
  uv_idle_init(loop, &handles_->idle);
  uv_timer_init(loop, &handles_->timer);
  handles_->open = 4;
  const int fd = store.device().eventFd();
  hasEvents_ = fd >= 0 && uv_poll_init(loop, &handles_->events, fd) == 0;
  if (hasEvents_) {
    ++handles_->open;
    handles_->events.data = handles_;
    uv_poll_start(&handles_->events, UV_READABLE,
                  [](uv_poll_t* handle, int, int) { of(handle->data)->run(); });
    uv_unref(base(handles_->events));
  }
  for (uv_handle_t* handle : {base(handles_->prepare), base(handles_->check), base(handles_->idle),
                              base(handles_->timer)}) {
    handle->data = handles_;
    uv_unref(handle);
  }
  uv_prepare_start(&handles_->prepare,
                   [](uv_prepare_t* handle) { of(handle->data)->store_.kick(); });
  uv_check_start(&handles_->check, [](uv_check_t* handle) {
    LoopDriver* driver = of(handle->data);
    if (driver->idling_) driver->run();
  });
}

LoopDriver::~LoopDriver() {
  handles_->driver = nullptr;
  const auto closed = [](uv_handle_t* handle) {
    auto* handles = static_cast<Handles*>(handle->data);
    if (--handles->open == 0) std::unique_ptr<Handles>{handles};
  };
  if (hasEvents_) uv_close(base(handles_->events), closed);
  uv_close(base(handles_->prepare), closed);
  uv_close(base(handles_->check), closed);
  uv_close(base(handles_->idle), closed);
  uv_close(base(handles_->timer), closed);
}

void LoopDriver::run() { sink_.poll(); }

void LoopDriver::update(bool busy) {
  const bool idle = store_.wantsPoll() || sink_.hasResults();
  if (idle != idling_) {
    idling_ = idle;
    // Its only effect: the loop does not block, and the check handle runs.
    if (idle) {
      uv_idle_start(&handles_->idle, [](uv_idle_t*) {});
    } else {
      uv_idle_stop(&handles_->idle);
    }
  }
  const bool tick = store_.wantsTick() || (!hasEvents_ && store_.device().inFlight() > 0);
  if (tick != ticking_) {
    ticking_ = tick;
    if (tick) {
      uv_timer_start(
          &handles_->timer, [](uv_timer_t* handle) { of(handle->data)->run(); }, kTickMs, kTickMs);
    } else {
      uv_timer_stop(&handles_->timer);
    }
  }
  if (busy != busy_) {
    busy_ = busy;
    // The check handle is always active, so it holds the loop whatever the device is.
    if (busy) {
      uv_ref(base(handles_->check));
    } else {
      uv_unref(base(handles_->check));
    }
  }
}

}  // namespace nabu::store::binding
