#include "pulse/pulse.h"

#include <doctest/doctest.h>
#include <poll.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "pulse/test/temporary_folder.h"

namespace nabu::pulse {
namespace {

using namespace std::chrono_literals;

// Looks at things that exist nowhere: paths with values, of which some hang until they are let go.
class World {
 public:
  Reading look(const Probe& probe) {
    std::unique_lock lock(mutex_);
    ++looks_[probe.path];
    most_ = std::max(most_, ++now_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_.contains(probe.path); });
    --now_;
    return {0, values_[probe.path]};
  }
  void set(const std::string& path, const std::string& value) {
    const std::lock_guard lock(mutex_);
    values_[path] = value;
  }
  void hold(const std::string& path) {
    const std::lock_guard lock(mutex_);
    held_.insert(path);
  }
  void letGo() {
    const std::lock_guard lock(mutex_);
    held_.clear();
    changed_.notify_all();
  }
  int looks(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return looks_[path];
  }
  void awaitLooks(const std::string& path, int count) {
    std::unique_lock lock(mutex_);
    REQUIRE(changed_.wait_for(lock, 20s, [&] { return looks_[path] >= count; }));
  }
  int mostAtOnce() {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::string> values_;
  std::map<std::string, int> looks_;
  std::set<std::string> held_;
  int now_ = 0;
  int most_ = 0;
};

Probe text(const std::string& path) { return {ProbeKind::kText, path}; }

struct Fixture {
  std::shared_ptr<World> world = std::make_shared<World>();
  std::unique_ptr<Pulse> pulse;

  explicit Fixture(std::size_t maxThreads = 8) {
    PulseOptions options{.every = 5ms, .hang = 20ms, .maxThreads = maxThreads};
    options.look = [world = world](const Probe& probe) { return world->look(probe); };
    int error = 0;
    pulse = Pulse::start(std::move(options), error);
    REQUIRE(pulse);
  }
  ~Fixture() { world->letGo(); }

  News next() const {
    pollfd interest{pulse->fd(), POLLIN, 0};
    REQUIRE(::poll(&interest, 1, 20'000) == 1);
    return pulse->take();
  }
  bool isSilent() const {
    pollfd interest{pulse->fd(), POLLIN, 0};
    return ::poll(&interest, 1, 0) == 0;
  }
  void settle(std::uint64_t watch) const {
    while (next().settled < watch) {
    }
  }
  // Until the news satisfy; what is told on the way is told once and so is kept.
  template <class Is>
  std::set<std::uint32_t> changedUntil(Is is) const {
    std::set<std::uint32_t> changed;
    while (true) {
      const News news = next();
      changed.insert(news.changed.begin(), news.changed.end());
      if (is(changed, news)) return changed;
    }
  }
};

using Indexes = std::vector<std::uint32_t>;

TEST_CASE("the first look at each is told as settled, not as a change, and then nobody is woken") {
  const Fixture f;
  const std::uint64_t watch = f.pulse->watch({text("a"), text("b")});
  const News news = f.next();
  CHECK(news.settled == watch);
  CHECK(news.changed.empty());
  CHECK(news.hanging.empty());
  f.world->awaitLooks("b", 10);
  CHECK(f.isSilent());
}

TEST_CASE("a change is told once, by the place of its probe") {
  const Fixture f;
  f.settle(f.pulse->watch({text("a"), text("b"), text("c")}));
  f.world->set("b", "DOWN");
  CHECK(f.next().changed == Indexes{1});
  f.world->awaitLooks("c", f.world->looks("c") + 5);
  CHECK(f.isSilent());
}

TEST_CASE("what changes between two watches is told of the probes that are in both") {
  const Fixture f;
  f.settle(f.pulse->watch({text("a"), text("b")}));
  // Held, so that no round sees the change before the second watch is there.
  f.world->hold("a");
  f.world->set("b", "DOWN");
  const std::uint64_t second = f.pulse->watch({text("new"), text("b")});
  f.world->letGo();
  const auto changed = f.changedUntil([&](const auto& seen, const News& news) {
    return news.settled == second && seen.contains(1);
  });
  CHECK(changed == std::set<std::uint32_t>{1});
}

TEST_CASE("one that hangs is told, is not asked again, and keeps no other from being looked at") {
  const Fixture f;
  f.settle(f.pulse->watch({text("a"), text("stuck"), text("b")}));
  f.world->hold("stuck");
  News news = f.next();
  CHECK(news.changed == Indexes{1});
  CHECK(news.hanging == Indexes{1});
  const int looks = f.world->looks("stuck");
  f.world->set("b", "DOWN");
  news = f.next();
  CHECK(news.changed == Indexes{2});
  CHECK(news.hanging == Indexes{1});
  CHECK(f.world->looks("stuck") == looks);
  f.world->letGo();
  news = f.next();
  CHECK(news.changed == Indexes{1});
  CHECK(news.hanging.empty());
  f.world->awaitLooks("stuck", looks + 2);
}

TEST_CASE("those that hang are found side by side, and told together") {
  const Fixture f;
  std::vector<Probe> probes{text("a")};
  for (int i = 0; i < 6; ++i) probes.push_back(text("stuck" + std::to_string(i)));
  f.settle(f.pulse->watch(probes));
  // Held by one that hangs, so that no round comes between.
  f.world->hold("a");
  f.world->awaitLooks("a", f.world->looks("a") + 1);
  for (int i = 0; i < 6; ++i) f.world->hold(probes[static_cast<std::size_t>(i) + 1].path);
  const News news = f.next();
  CHECK(news.hanging == Indexes{0, 1, 2, 3, 4, 5, 6});
  CHECK(f.world->mostAtOnce() >= 2);
}

TEST_CASE("a new watch settles although one of its probes hangs from the first look on") {
  const Fixture f;
  f.world->hold("stuck");
  const std::uint64_t watch = f.pulse->watch({text("stuck"), text("a")});
  News news;
  do news = f.next();
  while (news.settled < watch);
  CHECK(news.hanging == Indexes{0});
}

TEST_CASE("one that hangs, is forgotten and watched again, still has one thread and no other") {
  const Fixture f;
  f.settle(f.pulse->watch({text("a")}));
  f.world->hold("stuck");
  f.pulse->watch({text("stuck")});
  f.changedUntil([](const auto&, const News& news) { return news.hanging.size() == 1; });
  f.settle(f.pulse->watch({text("a")}));
  f.pulse->watch({text("a"), text("stuck")});
  f.changedUntil([](const auto& seen, const News& news) {
    return news.hanging == Indexes{1} && seen.contains(1);
  });
  f.world->awaitLooks("a", f.world->looks("a") + 5);
  CHECK(f.world->looks("stuck") == 1);
  f.world->letGo();
  CHECK(f.changedUntil([](const auto& seen, const News&) { return seen.contains(1); }).size() == 1);
}

TEST_CASE("with as many hanging as may, the rest waits, and goes on when one comes back") {
  const Fixture f(2);
  f.settle(f.pulse->watch({text("a"), text("s1"), text("s2"), text("s3"), text("z")}));
  for (const char* path : {"s1", "s2", "s3"}) f.world->hold(path);
  f.changedUntil([](const auto&, const News& news) { return news.hanging.size() == 2; });
  CHECK(f.world->mostAtOnce() <= 2);
  f.world->letGo();
  f.world->set("z", "DOWN");
  f.changedUntil(
      [](const auto& seen, const News& news) { return news.hanging.empty() && seen.contains(4); });
}

TEST_CASE("it ends while some hang, and what comes back later harms nobody") {
  Fixture f;
  f.world->hold("stuck");
  f.pulse->watch({text("a"), text("stuck")});
  f.changedUntil([](const auto&, const News& news) { return news.hanging.size() == 1; });
  f.pulse.reset();
  f.world->letGo();
}

TEST_CASE("it ends while a look is under way that nobody has called hanging yet") {
  Fixture f;
  f.settle(f.pulse->watch({text("a")}));
  f.world->hold("a");
  f.world->awaitLooks("a", f.world->looks("a") + 1);
  f.pulse.reset();
}

TEST_CASE("nothing to watch is settled at once") {
  const Fixture f;
  const std::uint64_t watch = f.pulse->watch({});
  CHECK(f.next().settled == watch);
}

TEST_CASE("whatever is watched, changed and held in any order, the last change is told: seeded") {
  std::mt19937 random(20261121);
  const Fixture f(3);
  std::map<std::string, std::string> told;
  const std::vector<std::string> paths{"a", "b", "c", "d", "e", "f"};
  for (int round = 0; round < 60; ++round) {
    std::vector<Probe> probes;
    for (const auto& path : paths) {
      if (random() % 3 != 0) probes.push_back(text(path));
    }
    probes.push_back(text("last"));
    f.settle(f.pulse->watch(probes));
    if (random() % 2 == 0) f.world->hold(paths[random() % paths.size()]);
    const std::uint32_t at = random() % probes.size();
    f.world->set(probes[at].path, std::to_string(round));
    f.world->set("last", std::to_string(round));
    if (random() % 2 == 0) f.world->letGo();
    const auto last = static_cast<std::uint32_t>(probes.size() - 1);
    f.changedUntil([&](const auto& seen, const News&) { return seen.contains(last); });
    f.world->letGo();
    // `at` may have hung: it comes back with the new value.
    f.world->set(probes[at].path, "after " + std::to_string(round));
    f.changedUntil([&](const auto& seen, const News&) { return seen.contains(at); });
  }
}

TEST_CASE("real files: a link that goes down, a device that goes away and comes back") {
  const TemporaryFolder folder;
  folder.write("state", "4: ACTIVE\n");
  folder.write("uverbs0", "");
  PulseOptions options{.every = 5ms, .hang = 1000ms};
  int error = 0;
  const auto pulse = Pulse::start(std::move(options), error);
  REQUIRE(pulse);
  const auto changed = [&]() -> Indexes {
    while (true) {
      pollfd interest{pulse->fd(), POLLIN, 0};
      REQUIRE(::poll(&interest, 1, 20'000) == 1);
      News news = pulse->take();
      if (!news.changed.empty()) return news.changed;
      if (news.settled == 1) return {};
    }
  };
  pulse->watch({{ProbeKind::kText, folder.at("state")}, {ProbeKind::kNode, folder.at("uverbs0")}});
  CHECK(changed().empty());
  std::filesystem::remove(folder.at("uverbs0"));
  CHECK(changed() == Indexes{1});
  folder.write("uverbs0", "");
  CHECK(changed() == Indexes{1});
  folder.write("new", "1: DOWN\n");
  std::filesystem::rename(folder.at("new"), folder.at("state"));
  CHECK(changed() == Indexes{0});
}

}  // namespace
}  // namespace nabu::pulse
