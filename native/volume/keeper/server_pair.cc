#include "volume/keeper/server_pair.h"

#include <algorithm>
#include <utility>

namespace nabu::volume::keeper {

// A spare only beside a server that serves: while one takes over it needs the processor.
std::vector<Error> ServerPair::startMissing() {
  std::vector<Error> errors;
  if (start(server_, serverPace_, errors)) ++starts_;
  if (served_) start(spare_, sparePace_, errors);
  return errors;
}

bool ServerPair::start(ServerProcess& process, RestartPace& pace, std::vector<Error>& errors) {
  if (process.running() || RestartPace::Clock::now() < pace.due()) return false;
  if (Status started = process.start(command_); !started.ok()) {
    errors.push_back(started.error());
    pace.failedToStart();
    return false;
  }
  pace.started();
  return true;
}

std::optional<RestartPace::Clock::time_point> ServerPair::due() const {
  if (!server_.running()) return serverPace_.due();
  if (served_ && !spare_.running()) return sparePace_.due();
  return std::nullopt;
}

bool ServerPair::serverEnded(bool promote) {
  server_.reap();
  serverPace_.ended();
  served_ = false;
  if (!promote || !spare_.running()) return false;
  server_ = std::move(spare_);
  spare_ = ServerProcess();
  ++starts_;
  serverPace_.started();
  return true;
}

void ServerPair::spareEnded() {
  spare_.reap();
  sparePace_.ended();
}

bool ServerPair::served(int pid) {
  if (!isServer(pid)) return false;
  served_ = true;
  serverPace_.served();
  return true;
}

void ServerPair::signal(int number) const {
  server_.signal(number);
  spare_.signal(number);
}

}  // namespace nabu::volume::keeper
