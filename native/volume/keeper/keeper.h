#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "volume/core/types.h"
#include "volume/keeper/loop_device.h"
#include "volume/keeper/scratch_memory.h"
#include "volume/keeper/seqpacket.h"
#include "volume/keeper/server_pair.h"
#include "volume/keeper/unique_fd.h"

namespace nabu::volume::keeper {

struct KeeperOptions {
  std::string socketPath;
  std::string stateFolder;
  std::vector<std::string> serverCommand;
};

/** Of the messages below; LIST, PING and SHUTDOWN are understood in any. */
inline constexpr std::uint64_t kKeeperProtocolVersion = 1;

// Keeps, for every volume of a slot, what must outlive its server: the FUSE connection, the memfd
// with the write ring and the loop device. Does nothing else, so that it has no reason to die.
//
// Beside the server that serves, a spare waits that has loaded and connected all it can: to take
// memory and to start takes longer than everything that is left to do then. A server asks (SERVE)
// before it touches anything, and hears when the one before is dead. A server that never asks gets
// no spare.
//
// Messages, each {"id", "version", "op", ...} answered by {"id", "ok": true, ...} or {"id", "ok":
// false, "reason"}:
//   PING                                        pid, serverPid, sparePid, serverStarts, ioFlusher,
//                                               volumes
//   SERVE                                       from a server: answered when no other one lives
//   READY                                       from a server: what it found here is served
//   SCRATCH name bytes                          descriptor: a memfd, the same for the same
//   question;
//                                               what is in it means nothing, but its pages are
//                                               there
//   ADD volumeId sizeBytes ringBytes meta       mountPath, created; descriptors: fuse, ring
//   GET volumeId                                the same and meta, device
//   LIST                                        volumes: [{volumeId, device}]
//   SET_META volumeId meta
//   ATTACH_LOOP volumeId readOnly               device      (waits for a server to answer the open)
//   RESIZE_LOOP volumeId
//   REMOVE volumeId force                       detaches, unmounts, forgets the ring
//   SHUTDOWN force                              ends the server and the keeper
class Keeper {
 public:
  explicit Keeper(KeeperOptions options);
  ~Keeper();
  /** Serves until it is told to end; the process's exit status. */
  int run();

 private:
  using Json = nlohmann::json;
  struct Volume {
    std::uint64_t sizeBytes = 0;
    std::uint64_t ringBytes = 0;
    Json meta;
    std::string mountPath;
    UniqueFd fuse;
    UniqueFd ring;
    LoopDevice loop;
    bool busy = false;  // a thread works on it
  };
  struct Answer {
    Json json;
    std::vector<int> fds;
  };

  Status prepare();
  void serveOnce();
  void onSignal();
  void onServerEnd();
  void startWhatIsMissing();
  void onConnection(int fd);
  void handle(int connection, const Message& message);
  Result<Answer> dispatch(int connection, const Json& request, bool& later);
  Result<Answer> serve(int connection, const Json& request, bool& later);
  Result<Answer> ready(int connection);
  Result<Answer> add(const Json& request);
  Result<Answer> describe(const Volume& volume, bool created) const;
  Result<Answer> inThread(int connection, const Json& request, const std::string& id,
                          Volume& volume);
  Result<Answer> shutdown(bool force);
  void reply(int connection, const Json& id, const Result<Answer>& result);
  void saveState();
  void log(const std::string& text) const;

  KeeperOptions options_;
  ServerPair servers_;
  UniqueFd listener_;
  UniqueFd signals_;
  UniqueFd wakeup_;
  struct Connection {
    UniqueFd fd;
    std::uint64_t serial = 0;
    int pid = 0;  // of who connected, by the kernel's word
  };
  /** The spare's question, to be answered when it is its turn. */
  struct Question {
    int connection;
    std::uint64_t serial;
    Json id;
  };
  std::map<int, Connection> connections_;
  std::uint64_t nextConnection_ = 0;
  std::optional<Question> spareAsks_;
  std::map<std::string, Volume> volumes_;
  ScratchMemory scratch_;
  bool ending_ = false;
  std::chrono::steady_clock::time_point killAt_;

  std::mutex finishedMutex_;
  std::vector<std::function<void()>> finished_;  // by threads, to be run by the main one
  std::size_t threads_ = 0;
};

}  // namespace nabu::volume::keeper
