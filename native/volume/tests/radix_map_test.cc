#include "volume/core/radix_map.h"

#include <doctest/doctest.h>

#include <cstring>
#include <map>
#include <random>

namespace nabu::volume {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr std::uint32_t kSeeds = 1;  // one thread only
#else
constexpr std::uint32_t kSeeds = 8;
#endif

using Block = std::array<std::byte, kBlockBytes>;

// A RadixMap with a log of pages under it.
struct Paged {
  explicit Paged(std::size_t pages) : map(3, pages) {}

  template <class F>
  auto whenLoaded(F&& operation) {
    while (true) {
      PageNeed need;
      const auto result = operation(need);
      if (result) return *result;
      const auto page = stored.find(need.location);
      if (page == stored.end() || !map.install(need, page->second.data()))
        throw "a page that was never stored";
    }
  }
  std::uint64_t get(std::uint64_t index) {
    return whenLoaded([&](PageNeed& need) { return map.get(index, need); });
  }
  std::uint64_t nextMapped(std::uint64_t at, std::uint64_t end) {
    return whenLoaded([&](PageNeed& need) -> std::optional<std::uint64_t> {
      if (!map.nextMapped(at, end, need)) return std::nullopt;
      return at;
    });
  }
  std::uint64_t set(std::uint64_t index, std::uint64_t value) {
    return whenLoaded([&](PageNeed& need) { return map.set(index, value, need); });
  }
  void writeOne() {
    const auto page = map.next();
    if (!page) return;
    if (page->empty) return map.placed(0);
    const Location location = makeLocation(++sequence, 1);
    std::memcpy(stored[location].data(), page->entries->data(), kBlockBytes);
    map.placed(location);
    map.settle(sequence);
  }

  RadixMap map;
  std::map<Location, Block> stored;
  std::uint64_t sequence = 0;
};

}  // namespace

TEST_CASE(
    "a radix map with few pages in memory does what std::map does, also while it is written out") {
  for (std::uint32_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](std::uint64_t below) { return random() % below; };
    Paged paged(16 + seed * 8);
    std::map<std::uint64_t, std::uint64_t> model;
    std::map<std::uint64_t, std::uint64_t> frozen;  // what the checkpoint being written must hold
    const std::uint64_t span = std::uint64_t{1} << (10 + pick(17));
    for (int i = 0; i < 12000; ++i) {
      const std::uint64_t index = pick(3) == 0 ? pick(2000) : pick(span);
      switch (pick(8)) {
        case 0: {
          const auto found = model.find(index);
          CHECK(paged.set(index, 0) == (found == model.end() ? 0 : found->second));
          model.erase(index);
          break;
        }
        case 1: {
          const std::uint64_t end = std::min(paged.map.capacity(), index + pick(5000));
          const auto at = model.lower_bound(index);
          const std::uint64_t expected = at == model.end() || at->first >= end ? end : at->first;
          if (index < end) {
            CHECK(paged.nextMapped(index, end) == expected);
          }
          break;
        }
        case 2: {
          std::vector<Location> replaced;
          if (pick(20) == 0 && paged.map.freeze(replaced)) frozen = model;
          for (std::uint64_t n = pick(20); n > 0; --n) paged.writeOne();
          if (paged.map.checkpointing() || frozen.empty()) break;
          // The checkpoint alone, read back.
          Paged copy(64);
          std::swap(copy.stored, paged.stored);
          copy.map.setRoot(paged.map.root());
          bool same = true;
          for (const auto& [at, value] : frozen) same = same && copy.get(at) == value;
          CHECK(same);
          std::uint64_t count = 0;
          for (std::uint64_t at = 0; at < copy.map.capacity(); ++count, ++at) {
            at = copy.nextMapped(at, copy.map.capacity());
            if (at == copy.map.capacity()) break;
          }
          CHECK(count == frozen.size());
          std::swap(copy.stored, paged.stored);
          frozen.clear();
          break;
        }
        case 3:
        case 4: {
          const auto found = model.find(index);
          CHECK(paged.get(index) == (found == model.end() ? 0 : found->second));
          break;
        }
        default: {
          const std::uint64_t value = 1 + pick(1U << 30);
          const auto found = model.find(index);
          CHECK(paged.set(index, value) == (found == model.end() ? 0 : found->second));
          model[index] = value;
        }
      }
    }
    for (const auto& [at, value] : model) CHECK(paged.get(at) == value);
  }
}

}  // namespace nabu::volume
