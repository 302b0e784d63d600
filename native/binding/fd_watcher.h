#pragma once

#include <uv.h>

#include <functional>
#include <memory>
#include <utility>

namespace nabu::binding {

// Calls back on the thread of a loop while a descriptor is readable. Holds no process alive. The
// descriptor has to stay open until the watcher is gone; the handle's memory lives until the loop
// has let go of it.
class FdWatcher {
 public:
  // Null when the loop cannot watch the descriptor.
  static std::unique_ptr<FdWatcher> start(uv_loop_t* loop, int fd, std::function<void()> onReady) {
    auto handle = std::make_unique<Handle>();
    handle->onReady = std::move(onReady);
    if (uv_poll_init(loop, &handle->poll, fd) != 0) return nullptr;
    handle->poll.data = handle.get();
    auto watcher = std::unique_ptr<FdWatcher>(new FdWatcher(handle.release()));
    uv_handle_t* base = watcher->base();
    uv_unref(base);
    const int started =
        uv_poll_start(&watcher->handle_->poll, UV_READABLE,
                      [](uv_poll_t* poll, int, int) { static_cast<Handle*>(poll->data)->call(); });
    return started == 0 ? std::move(watcher) : nullptr;
  }

  ~FdWatcher() {
    handle_->onReady = nullptr;
    uv_close(base(), [](uv_handle_t* closed) {
      std::unique_ptr<Handle>{static_cast<Handle*>(closed->data)};
    });
  }
  FdWatcher(const FdWatcher&) = delete;
  FdWatcher& operator=(const FdWatcher&) = delete;

 private:
  struct Handle {
    uv_poll_t poll;
    std::function<void()> onReady;
    // A copy: the callback may end its own watcher.
    void call() {
      const std::function<void()> callback = onReady;
      if (callback) callback();
    }
  };

  explicit FdWatcher(Handle* handle) : handle_(handle) {}
  uv_handle_t* base() { return reinterpret_cast<uv_handle_t*>(&handle_->poll); }

  Handle* handle_;  // freed by the close callback
};

}  // namespace nabu::binding
