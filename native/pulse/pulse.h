#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "pulse/probe.h"

namespace nabu::pulse {

struct PulseOptions {
  // From the beginning of one round to that of the next.
  std::chrono::milliseconds every{1000};
  // A look that has not returned by then is left behind, and counts as hanging until it does.
  std::chrono::milliseconds hang{500};
  // So many looks may hang at once. Each keeps a thread; with one more, rounds wait for one of
  // them.
  std::size_t maxThreads = 64;
  // What a look is. Tests put looks here that hang.
  std::function<Reading(const Probe&)> look = read;
};

// What is new since it was last asked. Indexes are those of the newest watch().
struct News {
  // The newest watch() of which every probe has been looked at, or hangs; 0 before the first.
  std::uint64_t settled = 0;
  // Gives another reading than before, or hangs now, or does not hang any more. Once each.
  std::vector<std::uint32_t> changed;
  std::vector<std::uint32_t> hanging;  // all that hang now
};

/**
 * Looks at many small files again and again, on a thread of its own, and says which give something
 * else than before. Nobody is woken while nothing changes. A look that hangs costs nobody but
 * itself: the round goes on without it on another thread.
 *
 * For use by one thread, but for the descriptor.
 */
class Pulse {
 public:
  // Null, with an errno, when there is no descriptor or thread to be had.
  static std::unique_ptr<Pulse> start(PulseOptions options, int& error);
  // Returns when no look is under way but those that hang. These end on their own, whenever.
  ~Pulse();
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  // Readable while there is news.
  int fd() const;
  // Looks at these from now on, at once for the first time. Probes that were there before keep what
  // they last gave, so that no change between two watches is lost. Returns the number of this
  // watch.
  std::uint64_t watch(const std::vector<Probe>& probes);
  News take();

 private:
  struct State;
  explicit Pulse(std::shared_ptr<State> state);

  std::shared_ptr<State> state_;
  std::thread conductor_;
};

}  // namespace nabu::pulse
