#include "ec/work_queue.h"

#include <atomic>
#include <future>
#include <set>
#include <thread>

#include "doctest/doctest.h"

namespace nabu::ec {
namespace {

class Task : public Job {
 public:
  explicit Task(std::function<void()> body) : body_(std::move(body)) {}
  void run() override { body_(); }

 private:
  std::function<void()> body_;
};

std::unique_ptr<Job> task(std::function<void()> body) {
  return std::make_unique<Task>(std::move(body));
}

/** Lets the test wait for the queue's signal instead of sleeping. */
class Bell {
 public:
  void ring() {
    const std::lock_guard lock(mutex_);
    ++rings_;
    changed_.notify_all();
  }
  void waitForMoreThan(int rings) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return rings_ > rings; });
  }
  int rings() {
    const std::lock_guard lock(mutex_);
    return rings_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int rings_ = 0;
};

TEST_CASE("all submitted jobs are run by other threads and come back once") {
  Bell bell;
  WorkQueue queue(3, 1000, [&] { bell.ring(); });
  std::atomic<int> ran = 0;
  const auto caller = std::this_thread::get_id();
  std::set<Job*> submitted;
  for (int i = 0; i < 200; ++i) {
    auto job = task([&] {
      if (std::this_thread::get_id() != caller) ++ran;
    });
    submitted.insert(job.get());
    REQUIRE(queue.submit(job));
  }
  size_t collected = 0;
  for (int seen = 0; collected < 200; ++seen) {
    bell.waitForMoreThan(seen);
    for (;;) {
      const auto jobs = queue.collect();
      if (jobs.empty()) break;
      collected += jobs.size();
      for (const auto& job : jobs) CHECK(submitted.erase(job.get()) == 1);
    }
  }
  CHECK(ran == 200);
  CHECK(submitted.empty());
}

TEST_CASE("jobs that finish while nobody collects share one signal") {
  Bell bell;
  WorkQueue queue(1, 10, [&] { bell.ring(); });
  std::promise<void> last;
  for (int i = 0; i < 5; ++i) {
    auto job = task([] {});
    REQUIRE(queue.submit(job));
  }
  auto job = task([&] { last.set_value(); });
  REQUIRE(queue.submit(job));
  last.get_future().wait();
  CHECK(bell.rings() == 1);
}

TEST_CASE("a full queue refuses a job and leaves it to the caller until something is collected") {
  Bell bell;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  WorkQueue queue(1, 2, [&] { bell.ring(); });
  for (int i = 0; i < 2; ++i) {
    auto job = task([gate] { gate.wait(); });
    REQUIRE(queue.submit(job));
  }
  auto refused = task([] {});
  CHECK_FALSE(queue.submit(refused));
  CHECK(refused != nullptr);
  open.set_value();
  bell.waitForMoreThan(0);
  while (queue.collect().empty()) std::this_thread::yield();
  CHECK(queue.submit(refused));
}

TEST_CASE("a queue that goes away waits for the running job and drops the others") {
  std::promise<void> started;
  std::promise<void> open;
  std::shared_future<void> gate = open.get_future().share();
  std::atomic<bool> finished = false;
  std::atomic<bool> secondRan = false;
  std::thread opener;
  {
    WorkQueue queue(1, 10, [] {});
    auto first = task([&] {
      started.set_value();
      gate.wait();
      finished = true;
    });
    auto second = task([&] { secondRan = true; });
    REQUIRE(queue.submit(first));
    started.get_future().wait();
    REQUIRE(queue.submit(second));
    queue.stop();
    opener = std::thread([&] { open.set_value(); });
  }
  opener.join();
  CHECK(finished);
  CHECK_FALSE(secondRan);
}

}  // namespace
}  // namespace nabu::ec
