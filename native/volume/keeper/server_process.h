#pragma once

#include <string>
#include <vector>

#include "volume/core/types.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

// A volume server: started here and waited for. It counts as dead when waitid says so, that is when
// all its threads are gone: only then is no late write of it possible.
class ServerProcess {
 public:
  Status start(const std::vector<std::string>& command);
  /** Readable when the process has ended. -1 when none runs. */
  int pidfd() const { return pidfd_.get(); }
  int pid() const { return pid_; }
  bool running() const { return static_cast<bool>(pidfd_); }
  /** Takes note of the end. */
  void reap();
  void signal(int number) const;
  bool ioFlusher() const { return ioFlusher_; }

 private:
  UniqueFd pidfd_;
  int pid_ = 0;
  bool ioFlusher_ = false;
};

}  // namespace nabu::volume::keeper
