#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "volume/core/types.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

// The volume server: started here, waited for, started again. It counts as dead when waitid says
// so, that is when all its threads are gone: only then is no late write of it possible.
class ServerProcess {
 public:
  explicit ServerProcess(std::vector<std::string> command) : command_(std::move(command)) {}

  Status start();
  /** Readable when the process has ended. -1 when none runs. */
  int pidfd() const { return pidfd_.get(); }
  int pid() const { return pid_; }
  bool running() const { return static_cast<bool>(pidfd_); }
  /** Takes note of the end; how long to wait before the next start. */
  std::chrono::milliseconds reap();
  void signal(int number) const;
  std::uint64_t starts() const { return starts_; }
  bool ioFlusher() const { return ioFlusher_; }

 private:
  std::vector<std::string> command_;
  UniqueFd pidfd_;
  int pid_ = 0;
  std::uint64_t starts_ = 0;
  bool ioFlusher_ = false;
  std::chrono::steady_clock::time_point startedAt_;
  std::chrono::milliseconds backoff_{0};
};

}  // namespace nabu::volume::keeper
