#include "volume/binding/event_queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace nabu::volume::binding {

std::shared_ptr<EventQueue> EventQueue::create(Napi::Env env, Napi::Function handler) {
  std::shared_ptr<EventQueue> queue(new EventQueue());
  auto share = std::make_unique<std::shared_ptr<EventQueue>>(queue);
  const auto drop = [](Napi::Env, std::shared_ptr<EventQueue>* held, EventQueue*) {
    const std::unique_ptr<std::shared_ptr<EventQueue>> last(held);
  };
  queue->array_ = Napi::Persistent(Napi::Float64Array::New(env, kRowsPerCall * kFields));
  queue->wakeup_ =
      Wakeup::New(env, handler, "nabu volume", 0, 1, queue.get(), drop, share.release());
  return queue;
}

void EventQueue::push(std::span<const Row> rows) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  rows_.insert(rows_.end(), rows.begin(), rows.end());
  wake();
}

// mutex_ is held, so the function cannot be released in between.
void EventQueue::wake() {
  if (std::exchange(woken_, true)) return;
  wakeup_.NonBlockingCall();
}

void EventQueue::sealWanted(SealReason reason, std::uint64_t pendingBytes) {
  const Row row{1, static_cast<double>(reason), static_cast<double>(pendingBytes)};
  push({&row, 1});
}

void EventQueue::fetch(std::span<const FetchWanted> fetches) {
  std::vector<Row> rows;
  rows.reserve(fetches.size());
  for (const FetchWanted& f : fetches) {
    rows.push_back({2, static_cast<double>(f.id), static_cast<double>(f.sequence),
                    static_cast<double>(f.block), static_cast<double>(f.count),
                    f.prefetch ? 1.0 : 0.0});
  }
  push(rows);
}

void EventQueue::checkpointWanted(std::size_t dirtyPages, bool blocked) {
  const Row row{3, static_cast<double>(dirtyPages), blocked ? 1.0 : 0.0};
  push({&row, 1});
}

void EventQueue::frontendClosed(int error) {
  const Row row{4, static_cast<double>(error)};
  push({&row, 1});
}

void EventQueue::post(Task task) {
  const std::lock_guard lock(mutex_);
  if (closed_) return;
  tasks_.push_back(std::move(task));
  wake();
}

void EventQueue::onWake(Napi::Env env, Napi::Function handler, EventQueue* queue, void*) {
  if (env != nullptr && queue != nullptr) queue->deliver(env, handler);
}

void EventQueue::deliver(Napi::Env env, Napi::Function handler) {
  std::vector<Row> rows;
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    woken_ = false;
    if (closed_) return;
    rows.swap(rows_);
    tasks.swap(tasks_);
  }
  const Napi::HandleScope scope(env);
  for (const Task& task : tasks) task(env);
  for (std::size_t at = 0; at < rows.size() && !closed_; at += kRowsPerCall) {
    const std::size_t n = std::min(kRowsPerCall, rows.size() - at);
    Napi::Float64Array array = array_.Value();
    std::memcpy(array.Data(), rows.data() + at, n * sizeof(Row));
    handler.Call({array, Napi::Number::New(env, static_cast<double>(n))});
    if (env.IsExceptionPending())
      return;  // becomes an uncaught exception: the handler must not throw
  }
}

void EventQueue::abandon() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    tasks.swap(tasks_);
    rows_.clear();
  }
  wakeup_.Release();
  array_.Reset();
}

void EventQueue::close(Napi::Env env) {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    tasks.swap(tasks_);
    rows_.clear();
  }
  const Napi::HandleScope scope(env);
  for (const Task& task : tasks) task(env);
  wakeup_.Release();
  array_.Reset();
}

}  // namespace nabu::volume::binding
