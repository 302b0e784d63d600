#pragma once

#include <algorithm>
#include <chrono>

namespace nabu::volume::keeper {

// When to start what has died again. At once after it has served, because everything on the volumes
// waits; later and later while every start fails.
class RestartPace {
 public:
  using Clock = std::chrono::steady_clock;

  /** It does what it is for. */
  void served() { backoff_ = std::chrono::milliseconds(0); }
  void started() { startedAt_ = Clock::now(); }
  void ended() {
    const auto now = Clock::now();
    if (now - startedAt_ > kLongRun) served();
    due_ = now + backoff_;
    backoff_ = std::clamp(backoff_ * 2, kFirstBackoff, kMaxBackoff);
  }
  void failedToStart() { due_ = Clock::now() + kMaxBackoff; }
  Clock::time_point due() const { return due_; }

 private:
  static constexpr std::chrono::milliseconds kFirstBackoff{100};
  static constexpr std::chrono::milliseconds kMaxBackoff{5000};
  static constexpr std::chrono::seconds kLongRun{10};  // after that an end is a new story

  std::chrono::milliseconds backoff_{0};
  Clock::time_point startedAt_;
  Clock::time_point due_;
};

}  // namespace nabu::volume::keeper
