#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "volume/keeper/restart_pace.h"
#include "volume/keeper/server_process.h"

namespace nabu::volume::keeper {

// The server that serves and, beside it once it does, a spare that is ready to: to take memory and
// to start takes longer than everything that is left to do then.
class ServerPair {
 public:
  explicit ServerPair(std::vector<std::string> command) : command_(std::move(command)) {}

  /** Starts what should run and does not, if it is time; errors for the log. */
  std::vector<Error> startMissing();
  /** When startMissing has something to do. */
  std::optional<RestartPace::Clock::time_point> due() const;
  /** Readable when server, spare have ended; -1 when there is none. */
  std::array<int, 2> pidfds() const { return {server_.pidfd(), spare_.pidfd()}; }
  /** Takes note of the server's end. True when the spare is the server now. */
  bool serverEnded(bool promote);
  void spareEnded();
  /** The server serves what it found. False when it is another process that says so. */
  bool served(int pid);

  bool running() const { return server_.running() || spare_.running(); }
  bool isServer(int pid) const { return server_.running() && server_.pid() == pid; }
  bool isSpare(int pid) const { return spare_.running() && spare_.pid() == pid; }
  int serverPid() const { return server_.pid(); }
  int sparePid() const { return spare_.pid(); }
  /** Processes that became the server. */
  std::uint64_t starts() const { return starts_; }
  bool ioFlusher() const { return server_.ioFlusher(); }
  void signal(int number) const;

 private:
  bool start(ServerProcess& process, RestartPace& pace, std::vector<Error>& errors);

  std::vector<std::string> command_;
  ServerProcess server_;
  RestartPace serverPace_;
  std::uint64_t starts_ = 0;
  bool served_ = false;
  ServerProcess spare_;
  RestartPace sparePace_;
};

}  // namespace nabu::volume::keeper
