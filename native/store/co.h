#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>
#include <vector>

#include "store/device.h"

// Coroutines for the store's background work, which is many steps long and runs beside the callers.
// Everything is on one thread. The hot paths (append, read) use plain callbacks.
//
// co_await stands in a statement of its own (`const bool good = co_await x();`), never inside a
// condition: GCC 12 compiles some of those into frames that trap when they are resumed.

namespace nabu::store {

namespace detail {
struct FinalAwait {
  bool await_ready() noexcept { return false; }
  template <class P>
  std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) noexcept {
    return self.promise().continuation;
  }
  void await_resume() noexcept {}
};
struct PromiseBase {
  std::coroutine_handle<> continuation = std::noop_coroutine();
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwait final_suspend() noexcept { return {}; }
  void unhandled_exception() noexcept { std::terminate(); }
};
}  // namespace detail

/** Begins when awaited. */
template <class T = void>
class [[nodiscard]] Co {
 public:
  struct promise_type : detail::PromiseBase {
    std::optional<T> value;
    Co get_return_object() { return Co(std::coroutine_handle<promise_type>::from_promise(*this)); }
    void return_value(T result) { value.emplace(std::move(result)); }
  };
  Co(Co&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  ~Co() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Co(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

template <>
class [[nodiscard]] Co<void> {
 public:
  struct promise_type : detail::PromiseBase {
    Co get_return_object() { return Co(std::coroutine_handle<promise_type>::from_promise(*this)); }
    void return_void() {}
  };
  Co(Co&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  ~Co() {
    if (handle_) handle_.destroy();
  }
  bool await_ready() const noexcept { return false; }
  std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
    handle_.promise().continuation = caller;
    return handle_;
  }
  void await_resume() {}

 private:
  explicit Co(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

namespace detail {
struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() noexcept { std::terminate(); }
  };
};
inline Detached runDetached(Co<> work) { co_await work; }
}  // namespace detail

/** Runs until it first waits; its frame frees itself at the end. */
inline void spawn(Co<> work) { detail::runDetached(std::move(work)); }

/** co_await of one I/O: 0 or -errno. */
class AwaitIo : public IoRequest {
 public:
  AwaitIo(Device& device, IoKind what, uint64_t at, void* bytes, uint64_t length,
          bool isDurable = false)
      : device_(device) {
    if (what == IoKind::kFlush) {
      kind = what;
    } else {
      one(what, at, bytes, length);
    }
    durable = isDurable;
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    caller_ = caller;
    complete = [](IoRequest* self) { static_cast<AwaitIo*>(self)->caller_.resume(); };
    device_.submit(*this);
  }
  int await_resume() const noexcept { return result; }

 private:
  Device& device_;
  std::coroutine_handle<> caller_;
};

/** Waiting coroutines, all woken at once. Who wakes looks again at what it waited for. */
class Signal {
 public:
  struct Await {
    Signal& signal;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> caller) { signal.waiting_.push_back(caller); }
    void await_resume() const noexcept {}
  };
  Await wait() { return {*this}; }
  bool hasWaiters() const { return !waiting_.empty(); }
  void notify() {
    std::vector<std::coroutine_handle<>> woken;
    woken.swap(waiting_);
    for (const auto handle : woken) handle.resume();
  }

 private:
  std::vector<std::coroutine_handle<>> waiting_;
};

}  // namespace nabu::store
