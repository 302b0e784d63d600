#include "volume/core/flat_map.h"

#include <doctest/doctest.h>

#include <random>
#include <unordered_map>

namespace nabu::volume {

TEST_CASE("a flat map does what std::unordered_map does") {
  std::mt19937_64 random(3);
  FlatMap<std::uint64_t> map(4);
  std::unordered_map<std::uint64_t, std::uint64_t> model;
  for (int i = 0; i < 300000; ++i) {
    const std::uint64_t key = random() % 5000 << (random() % 3 * 16);
    switch (random() % 3) {
      case 0:
        map.at(key) = model[key] = random();
        break;
      case 1:
        CHECK(map.erase(key) == (model.erase(key) == 1));
        break;
      default: {
        const auto* found = map.find(key);
        const auto expected = model.find(key);
        REQUIRE((found != nullptr) == (expected != model.end()));
        if (found != nullptr) CHECK(*found == expected->second);
      }
    }
    REQUIRE(map.size() == model.size());
  }
  std::size_t visited = 0;
  map.forEach([&](std::uint64_t key, std::uint64_t value) {
    CHECK(model.at(key) == value);
    ++visited;
  });
  CHECK(visited == model.size());
}

}  // namespace nabu::volume
