#include "pulse/pulse.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <utility>

namespace nabu::pulse {
namespace {

using Time = std::chrono::steady_clock;

constexpr int kSlices = 4;

struct Entry {
  explicit Entry(Probe of) : probe(std::move(of)) {}
  const Probe probe;
  // All that follows: under the lock of the state.
  std::optional<Reading> last;
  bool isHanging = false;
  bool isChanged = false;
};

}  // namespace

/**
 * Shared by all threads, so that one that hangs for ever never points to what is gone. `mutex`
 * guards everything but `options` and `fd`, and is never held while a look is under way.
 *
 * The conductor begins rounds and watches over them; workers take the entries of a round one by
 * one. There is one worker while looks are quick. When one takes long another goes on with the
 * rest, so that those that hang are found side by side; one whose look hangs is no worker any more:
 * it reports when it comes back, and ends.
 */
struct Pulse::State {
  explicit State(PulseOptions with, int eventFd) : options(std::move(with)), fd(eventFd) {}
  ~State() { ::close(fd); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // A look that is under way and does not hang yet.
  struct Look {
    std::shared_ptr<Entry> entry;
    int slices = 0;
  };

  const PulseOptions options;
  const int fd;

  std::mutex mutex;
  std::condition_variable toConductor;
  std::condition_variable toWorkers;
  std::vector<std::shared_ptr<Entry>> entries;
  std::uint64_t watched = 0;  // the number of the newest watch
  std::uint64_t settled = 0;
  std::uint64_t begun = 0;  // of the watch that the round under way began with
  std::size_t next = 0;     // the entry of the round that comes next; entries.size(): none
  std::size_t workers = 0;
  std::map<std::uint64_t, Look> looks;
  std::uint64_t lastLook = 0;
  // Those with a thread that does not come back, watched or not: nothing that hangs is asked twice.
  std::vector<std::shared_ptr<Entry>> hanging;
  bool hasNews = false;
  bool isClosing = false;

  // With the lock held.
  bool isRoundOver() const { return next >= entries.size() && looks.empty(); }

  void tell() {
    const std::uint64_t one = 1;
    // It fails only when the counter is full: then it is readable already.
    [[maybe_unused]] const ssize_t written = ::write(fd, &one, sizeof(one));
    hasNews = false;
  }

  void note(Entry& entry, Reading&& reading) {
    if (entry.last && *entry.last == reading) return;
    if (entry.last) entry.isChanged = hasNews = true;
    entry.last = std::move(reading);
  }

  static void work(const std::shared_ptr<State>& state);
  static void lookAt(State& state, const std::shared_ptr<Entry>& entry,
                     std::unique_lock<std::mutex>& lock, bool& isWorker);
  static bool addWorker(const std::shared_ptr<State>& state);
  static void conduct(const std::shared_ptr<State>& state);
  static void attend(const std::shared_ptr<State>& state, std::unique_lock<std::mutex>& lock);
};

void Pulse::State::work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  bool isWorker = true;
  while (isWorker) {
    state->toWorkers.wait(lock,
                          [&] { return state->isClosing || state->next < state->entries.size(); });
    if (state->isClosing) break;
    const std::shared_ptr<Entry> entry = state->entries[state->next++];
    // One that hangs has its thread already.
    if (!entry->isHanging) lookAt(*state, entry, lock, isWorker);
    if (state->isRoundOver()) state->toConductor.notify_all();
    // The rest of a round may need several, what comes after it does not.
    if (isWorker && state->workers > 1 && state->next >= state->entries.size()) break;
  }
  if (isWorker) --state->workers;
  state->toConductor.notify_all();  // the conductor, and who ends it all
}

void Pulse::State::lookAt(State& state, const std::shared_ptr<Entry>& entry,
                          std::unique_lock<std::mutex>& lock, bool& isWorker) {
  const std::uint64_t number = ++state.lastLook;
  state.looks.emplace(number, Look{entry});
  lock.unlock();
  Reading reading = state.options.look(entry->probe);
  lock.lock();
  if (state.looks.erase(number) > 0) {
    state.note(*entry, std::move(reading));
    return;
  }
  isWorker = false;
  entry->isHanging = false;
  entry->isChanged = true;
  entry->last = std::move(reading);
  std::erase(state.hanging, entry);
  state.tell();
}

bool Pulse::State::addWorker(const std::shared_ptr<State>& state) {
  if (state->workers + state->hanging.size() >= state->options.maxThreads) return false;
  try {
    std::thread([state] { work(state); }).detach();
  } catch (const std::system_error&) {
    return false;
  }
  ++state->workers;
  return true;
}

void Pulse::State::conduct(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->isClosing) {
    const auto begin = Time::now();
    state->begun = state->watched;
    state->next = 0;
    if (state->workers == 0) addWorker(state);
    state->toWorkers.notify_all();
    attend(state, lock);
    if (state->isRoundOver() && state->settled < state->begun && state->begun == state->watched) {
      state->settled = state->begun;
      state->hasNews = true;
    }
    if (state->hasNews) state->tell();
    state->toConductor.wait_until(lock, begin + state->options.every, [&] {
      return state->isClosing || state->watched != state->begun;
    });
  }
}

// Until the round is over, or no thread is left to end it: then the rest waits for the next one.
//
// A look hangs when it was seen under way at the end of kSlices waits. A wait that took much longer
// than it should have does not count: then this process was kept from running, and so was the look.
void Pulse::State::attend(const std::shared_ptr<State>& state, std::unique_lock<std::mutex>& lock) {
  const Time::duration slice = Time::duration(state->options.hang) / kSlices;
  while (!state->isClosing && !state->isRoundOver() && state->workers > 0) {
    const auto from = Time::now();
    const std::uint64_t newest = state->lastLook;
    state->toConductor.wait_for(lock, slice, [&] {
      return state->isClosing || state->isRoundOver() || state->workers == 0;
    });
    const auto took = Time::now() - from;
    if (took < slice || took > 2 * slice) continue;
    for (auto at = state->looks.begin(); at != state->looks.end() && at->first <= newest;) {
      Look& look = at->second;
      if (++look.slices < kSlices) {
        ++at;
        continue;
      }
      look.entry->isHanging = look.entry->isChanged = state->hasNews = true;
      state->hanging.push_back(look.entry);
      --state->workers;
      at = state->looks.erase(at);
    }
    // All take long: twice as many go on with the rest.
    if (state->looks.size() < state->workers) continue;
    const std::size_t left = state->entries.size() - state->next;
    for (std::size_t more = std::min(std::max<std::size_t>(1, state->workers), left); more > 0;) {
      more = addWorker(state) ? more - 1 : 0;
    }
  }
}

std::unique_ptr<Pulse> Pulse::start(PulseOptions options, int& error) {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) {
    error = errno;
    return nullptr;
  }
  auto pulse = std::unique_ptr<Pulse>(new Pulse(std::make_shared<State>(std::move(options), fd)));
  try {
    pulse->conductor_ = std::thread([state = pulse->state_] { State::conduct(state); });
  } catch (const std::system_error& failure) {
    error = failure.code().value();
    return nullptr;
  }
  return pulse;
}

Pulse::Pulse(std::shared_ptr<State> state) : state_(std::move(state)) {}

Pulse::~Pulse() {
  {
    std::unique_lock lock(state_->mutex);
    state_->isClosing = true;
    state_->toConductor.notify_all();
    state_->toWorkers.notify_all();
    // Workers end by themselves; one that hangs now is not waited for any longer than in a round.
    state_->toConductor.wait_for(lock, state_->options.hang, [&] { return state_->workers == 0; });
  }
  if (conductor_.joinable()) conductor_.join();
}

int Pulse::fd() const { return state_->fd; }

std::uint64_t Pulse::watch(const std::vector<Probe>& probes) {
  const std::lock_guard lock(state_->mutex);
  std::map<std::pair<ProbeKind, std::string>, std::shared_ptr<Entry>> known;
  const auto keyOf = [](const Probe& probe) { return std::pair(probe.kind, probe.path); };
  for (const auto& entry : state_->entries) known.emplace(keyOf(entry->probe), entry);
  for (const auto& entry : state_->hanging) {
    // One that hangs still, and that nobody has watched meanwhile, is told to hang once more.
    const bool isBack = known.emplace(keyOf(entry->probe), entry).second;
    if (isBack) entry->isChanged = state_->hasNews = true;
  }
  std::vector<std::shared_ptr<Entry>> entries;
  entries.reserve(probes.size());
  for (const Probe& probe : probes) {
    auto& entry = known[keyOf(probe)];
    if (!entry) entry = std::make_shared<Entry>(probe);
    entries.push_back(entry);
  }
  state_->entries = std::move(entries);
  // The round under way is over when its looks return; the conductor begins a new one at once.
  state_->next = state_->entries.size();
  ++state_->watched;
  state_->toConductor.notify_one();
  return state_->watched;
}

News Pulse::take() {
  const std::lock_guard lock(state_->mutex);
  std::uint64_t count = 0;
  while (::read(state_->fd, &count, sizeof(count)) > 0) {
  }
  News news;
  news.settled = state_->settled;
  for (std::uint32_t i = 0; i < state_->entries.size(); ++i) {
    Entry& entry = *state_->entries[i];
    if (entry.isChanged) news.changed.push_back(i);
    if (entry.isHanging) news.hanging.push_back(i);
    entry.isChanged = false;
  }
  return news;
}

}  // namespace nabu::pulse
