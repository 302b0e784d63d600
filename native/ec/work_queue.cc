#include "ec/work_queue.h"

#include <utility>

namespace nabu::ec {

WorkQueue::WorkQueue(int threads, size_t limit, std::function<void()> onFinished)
    : limit_(limit), onFinished_(std::move(onFinished)) {
  for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
}

void WorkQueue::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
}

WorkQueue::~WorkQueue() {
  stop();
  for (auto& thread : threads_) thread.join();
}

bool WorkQueue::submit(std::unique_ptr<Job>& job) {
  {
    const std::lock_guard lock(mutex_);
    if (held_ >= limit_) return false;
    ++held_;
    waiting_.push_back(std::move(job));
  }
  changed_.notify_one();
  return true;
}

std::vector<std::unique_ptr<Job>> WorkQueue::collect() {
  const std::lock_guard lock(mutex_);
  held_ -= finished_.size();
  return std::exchange(finished_, {});
}

void WorkQueue::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    std::unique_ptr<Job> job = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    job->run();
    lock.lock();
    const bool first = finished_.empty();
    finished_.push_back(std::move(job));
    if (first && !stopping_) {
      lock.unlock();
      onFinished_();
      lock.lock();
    }
  }
}

}  // namespace nabu::ec
