#include "volume/keeper/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "volume/core/write_ring.h"
#include "volume/keeper/fuse_mount.h"
#include "volume/keeper/keeper_json.h"
#include "volume/keeper/state_file.h"

namespace nabu::volume::keeper {
namespace {

constexpr std::size_t kMaxConnections = 32;
constexpr std::chrono::seconds kTermLimit{10};

int peerOf(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 ? peer.pid : 0;
}

}  // namespace

Keeper::Keeper(KeeperOptions options)
    : options_(std::move(options)), servers_(options_.serverCommand), scratch_(kMaxVolumes + 1) {}
Keeper::~Keeper() = default;

void Keeper::log(const std::string& text) const {
  std::fprintf(stderr, "nabu-keeper: %s\n", text.c_str());
}

Status Keeper::prepare() {
  if (Status limits = checkFuseLimits(); !limits.ok()) return limits;
  if (mkdir(options_.stateFolder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Error{Failure::kSystem, "making " + options_.stateFolder, std::strerror(errno)};
  }
  // Absolute, because the kernel names backing files so.
  std::unique_ptr<char, decltype(&std::free)> real(realpath(options_.stateFolder.c_str(), nullptr),
                                                   std::free);
  if (real) options_.stateFolder = real.get();
  auto before = readState(options_.stateFolder);
  if (!before.ok()) return before.error();
  if (!before.value().volumes.empty()) {
    return Error{Failure::kWrongState, "starting in " + options_.stateFolder,
                 "an earlier keeper died with volumes attached; their unflushed data died with it. "
                 "After a look at "
                 "them, nabu-keeper --cleanup " +
                     options_.stateFolder + " takes their mounts and devices away"};
  }
  auto listener = listenAt(options_.socketPath);
  if (!listener.ok()) return listener.error();
  listener_ = UniqueFd(listener.value());
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGTERM);
  sigaddset(&wanted, SIGINT);
  sigaddset(&wanted, SIGHUP);
  sigprocmask(SIG_BLOCK, &wanted, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = UniqueFd(signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  wakeup_ = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!signals_ || !wakeup_) return Error{Failure::kSystem, "signalfd", std::strerror(errno)};
  // Refused without CAP_IPC_LOCK; small as it is, it then runs the risk of a page fault.
  (void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
  saveState();
  return Done{};
}

int Keeper::run() {
  if (Status ready = prepare(); !ready.ok()) {
    log(textOf(ready.error()));
    return 1;
  }
  startWhatIsMissing();
  if (!servers_.running()) {
    unlink(options_.socketPath.c_str());
    return 1;
  }
  while (!ending_ || servers_.running() || threads_ != 0) serveOnce();
  unlink(options_.socketPath.c_str());
  unlink((options_.stateFolder + "/keeper.json").c_str());
  return 0;
}

void Keeper::serveOnce() {
  std::vector<pollfd> fds{
      {listener_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {wakeup_.get(), POLLIN, 0}};
  for (const int pidfd : servers_.pidfds()) {
    fds.push_back({pidfd, POLLIN, 0});  // -1 is ignored by poll
  }
  for (const auto& [fd, owned] : connections_) fds.push_back({fd, POLLIN, 0});
  const auto now = std::chrono::steady_clock::now();
  int timeoutMs = -1;
  const auto until = ending_ ? std::optional(killAt_) : servers_.due();
  if (until) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*until - now).count();
    timeoutMs = static_cast<int>(std::max<std::int64_t>(left, 0));
  }
  if (poll(fds.data(), fds.size(), timeoutMs) < 0 && errno != EINTR) return;

  if (ending_ && std::chrono::steady_clock::now() >= killAt_) {
    servers_.signal(SIGKILL);
    killAt_ += kTermLimit;
  }
  if (fds[2].revents != 0) {
    std::uint64_t count = 0;
    (void)!read(wakeup_.get(), &count, sizeof count);
    std::vector<std::function<void()>> finished;
    {
      const std::lock_guard lock(finishedMutex_);
      finished.swap(finished_);
    }
    for (auto& task : finished) task();
  }
  if (fds[1].revents != 0) onSignal();
  if (fds[4].revents != 0) {
    servers_.spareEnded();
    spareAsks_.reset();
  }
  if (fds[3].revents != 0) onServerEnd();
  startWhatIsMissing();
  for (std::size_t i = 5; i < fds.size(); ++i) {
    if (fds[i].revents != 0) onConnection(fds[i].fd);
  }
  if (fds[0].revents != 0) {
    UniqueFd accepted(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted && connections_.size() < kMaxConnections) {
      const int fd = accepted.get();
      connections_.emplace(fd, Connection{std::move(accepted), ++nextConnection_, peerOf(fd)});
    }
  }
}

void Keeper::onSignal() {
  signalfd_siginfo info{};
  while (read(signals_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
    if (info.ssi_signo == SIGHUP) continue;  // whoever started it has gone: that is what it is for
    if (const auto done = shutdown(false); !done.ok()) log("asked to end: " + textOf(done.error()));
  }
}

void Keeper::onServerEnd() {
  if (!servers_.serverEnded(!ending_)) return;
  if (!spareAsks_) return;  // it is still loading, and is answered at once when it asks
  const Question question = std::move(*spareAsks_);
  spareAsks_.reset();
  const auto asker = connections_.find(question.connection);
  if (asker != connections_.end() && asker->second.serial == question.serial) {
    reply(question.connection, question.id, Answer{Json::object(), {}});
  }
}

void Keeper::startWhatIsMissing() {
  if (ending_) return;
  for (const Error& error : servers_.startMissing()) log(textOf(error));
}

void Keeper::onConnection(int fd) {
  int error = 0;
  auto message = receiveMessage(fd, error);
  if (!message) {
    if (error != EINTR && error != EAGAIN) connections_.erase(fd);
    return;
  }
  for (const int stray : message->fds) close(stray);
  handle(fd, *message);
}

void Keeper::handle(int connection, const Message& message) {
  const Json request = Json::parse(message.json, nullptr, false);
  if (!request.is_object() || !request.contains("id")) {
    connections_.erase(connection);  // not our protocol
    return;
  }
  bool later = false;
  const auto result = dispatch(connection, request, later);
  if (!later) reply(connection, request["id"], result);
}

void Keeper::reply(int connection, const Json& id, const Result<Answer>& result) {
  Json answer = result.ok() ? result.value().json : Json::object();
  answer["id"] = id;
  answer["ok"] = result.ok();
  if (!result.ok()) answer["reason"] = textOf(result.error());
  const std::string text = answer.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (sendMessage(connection, text, result.ok() ? result.value().fds : std::vector<int>{}) != 0) {
    connections_.erase(connection);
  }
}

Result<Keeper::Answer> Keeper::dispatch(int connection, const Json& request, bool& later) {
  const std::string op = stringIn(request, "op");
  if (op == "PING") {
    return Answer{{{"pid", getpid()},
                   {"serverPid", servers_.serverPid()},
                   {"sparePid", servers_.sparePid()},
                   {"serverStarts", servers_.starts()},
                   {"ioFlusher", servers_.ioFlusher()},
                   {"volumes", volumes_.size()}},
                  {}};
  }
  if (op == "LIST") {
    Json list = Json::array();
    for (const auto& [id, volume] : volumes_)
      list.push_back({{"volumeId", id}, {"device", volume.loop.path}});
    return Answer{{{"volumes", list}}, {}};
  }
  if (op == "SHUTDOWN") return shutdown(flagIn(request, "force"));
  // To ask and to end is possible across versions; what keeps volumes is not guessed at.
  if (const auto version = numberIn(request, "version"); version != kKeeperProtocolVersion) {
    return refuse("protocol version " + std::to_string(version) + ", this keeper speaks " +
                  std::to_string(kKeeperProtocolVersion));
  }
  if (op == "SERVE") return serve(connection, request, later);
  if (op == "READY") return ready(connection);
  if (op == "SCRATCH") {
    const auto memory = scratch_.get(stringIn(request, "name"), numberIn(request, "bytes"));
    if (!memory.ok()) return memory.error();
    return Answer{Json::object(), {memory.value()}};
  }
  if (op == "ADD") return add(request);
  const std::string id = stringIn(request, "volumeId");
  const auto found = volumes_.find(id);
  if (found == volumes_.end()) return refuse("volume " + id + " is not kept here");
  Volume& volume = found->second;
  if (op == "GET") return describe(volume, false);
  if (op == "SET_META") {
    if (!request.contains("meta") || request["meta"].dump().size() > kMaxMetaBytes) {
      return refuse("meta is missing or longer than 8 KiB");
    }
    volume.meta = request["meta"];
    return Answer{Json::object(), {}};
  }
  if (op != "ATTACH_LOOP" && op != "RESIZE_LOOP" && op != "REMOVE")
    return refuse("the operation is unknown");
  if (volume.busy) return refuse("another operation on volume " + id + " is under way");
  if (op == "ATTACH_LOOP" && volume.loop.fd) return Answer{{{"device", volume.loop.path}}, {}};
  if (op == "RESIZE_LOOP" && !volume.loop.fd) return refuse("volume " + id + " has no loop device");
  later = true;
  return inThread(connection, request, id, volume);
}

Result<Keeper::Answer> Keeper::describe(const Volume& volume, bool created) const {
  return Answer{{{"mountPath", volume.mountPath},
                 {"sizeBytes", volume.sizeBytes},
                 {"ringBytes", volume.ringBytes},
                 {"device", volume.loop.path},
                 {"meta", volume.meta},
                 {"created", created}},
                {volume.fuse.get(), volume.ring.get()}};
}

Result<Keeper::Answer> Keeper::serve(int connection, const Json& request, bool& later) {
  const Connection& asker = connections_.at(connection);
  if (ending_) return refuse("the keeper is ending");
  if (servers_.isServer(asker.pid)) return Answer{Json::object(), {}};
  if (!servers_.isSpare(asker.pid)) {
    return refuse("process " + std::to_string(asker.pid) + " is no server of this keeper");
  }
  spareAsks_ = Question{connection, asker.serial, request["id"]};
  later = true;
  return Answer{};
}

Result<Keeper::Answer> Keeper::ready(int connection) {
  if (!servers_.served(connections_.at(connection).pid)) {
    return refuse("only the server that serves is ready");
  }
  return Answer{Json::object(), {}};
}

Result<Keeper::Answer> Keeper::shutdown(bool force) {
  if (!volumes_.empty() && !force) {
    return refuse(
        std::to_string(volumes_.size()) +
        " volumes are attached; remove them first, or force it and lose what is not flushed");
  }
  for (auto& [id, volume] : volumes_) {
    const std::string backing = volume.mountPath + "/block";
    if (volume.loop.fd) (void)abandonLoop(volume.loop.number, backing);
    (void)unmountFuse(volume.mountPath, true);
  }
  volumes_.clear();
  ending_ = true;
  killAt_ = std::chrono::steady_clock::now() + kTermLimit;
  servers_.signal(SIGTERM);
  return Answer{Json::object(), {}};
}

void Keeper::saveState() {
  KeptState state;
  state.pid = getpid();
  for (const auto& [id, volume] : volumes_)
    state.volumes.push_back({id, volume.mountPath, volume.loop.number});
  if (Status written = writeState(options_.stateFolder, state); !written.ok())
    log(textOf(written.error()));
}

}  // namespace nabu::volume::keeper
