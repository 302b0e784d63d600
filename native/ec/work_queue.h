#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace nabu::ec {

/** Work of 100 us and more, done off the caller's thread. Whoever gets a job back reads its results
 * from it. */
class Job {
 public:
  virtual ~Job() = default;
  virtual void run() = 0;
};

/**
 * A bounded queue and the threads that empty it. One owner submits and collects; finished jobs
 * gather until it does, and it is told only when there are some again: under load one signal stands
 * for many jobs.
 */
class WorkQueue {
 public:
  /**
   * @param limit How many jobs may be in it, running and finished ones included.
   * @param onFinished Called by a worker when the finished jobs are no longer none. Must not block.
   */
  WorkQueue(int threads, size_t limit, std::function<void()> onFinished);

  /** Ends the running jobs, drops those not begun and those not collected. */
  ~WorkQueue();

  WorkQueue(const WorkQueue&) = delete;
  WorkQueue& operator=(const WorkQueue&) = delete;

  size_t limit() const { return limit_; }

  /** From here on no job is begun. The destructor does it too. */
  void stop();

  /** False, and the job stays the caller's, when the queue is full. */
  bool submit(std::unique_ptr<Job>& job);

  /** Everything finished since the last call, in the order in which it finished. */
  std::vector<std::unique_ptr<Job>> collect();

 private:
  void work();

  const size_t limit_;
  const std::function<void()> onFinished_;

  std::mutex mutex_;  // guards all below but threads_
  std::condition_variable changed_;
  std::deque<std::unique_ptr<Job>> waiting_;
  std::vector<std::unique_ptr<Job>> finished_;
  size_t held_ = 0;  // waiting + running + finished
  bool stopping_ = false;

  std::vector<std::thread> threads_;
};

}  // namespace nabu::ec
