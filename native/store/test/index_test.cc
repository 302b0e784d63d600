#include "store/index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <unordered_map>
#include <vector>

namespace nabu::store::test {
namespace {

IndexEntry entryOf(const Fingerprint& print, uint64_t block) {
  IndexEntry entry{};
  entry.hash = print.hash;
  entry.tag = print.tag;
  entry.flags = kShard;
  entry.setBlock(block);
  return entry;
}

struct HashOf {
  size_t operator()(const Fingerprint& print) const { return print.hash; }
};

std::vector<uint64_t> blocksOf(Index& index, const Fingerprint& print) {
  std::vector<uint64_t> blocks;
  for (IndexEntry* at = index.first(print); at != nullptr; at = index.next(at))
    blocks.push_back(at->block());
  std::sort(blocks.begin(), blocks.end());
  return blocks;
}

}  // namespace

TEST_CASE(
    "the index agrees with an unordered_multimap through growth, duplicates and equal hashes") {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    std::mt19937_64 random(seed);
    Index index;
    std::unordered_multimap<Fingerprint, uint64_t, HashOf> model;
    std::vector<Fingerprint> prints;
    for (int i = 0; i < 30000; ++i) {
      // Some share a hash and differ in the tag; some lie at both ends of the table.
      uint64_t hash = random();
      if (i % 50 == 0 && !prints.empty()) hash = prints[random() % prints.size()].hash;
      if (i % 97 == 0) hash = random() % 4;
      if (i % 101 == 0) hash = UINT64_MAX - random() % 4;
      prints.push_back({hash, random()});
    }
    bool grew = false;
    uint64_t block = 0;
    for (int i = 0; i < 120000; ++i) {
      const Fingerprint& print = prints[random() % prints.size()];
      if (random() % 100 < (i < 70000 ? 75 : 35)) {
        index.insert(entryOf(print, ++block));
        model.emplace(print, block);
      } else if (IndexEntry* at = index.first(print)) {
        const auto [from, to] = model.equal_range(print);
        const auto same =
            std::find_if(from, to, [&](const auto& item) { return item.second == at->block(); });
        REQUIRE(same != to);
        model.erase(same);
        index.erase(at);
      } else {
        REQUIRE(model.count(print) == 0);
      }
      grew = grew || index.growing();
      REQUIRE(index.size() == model.size());
      if (i % 64 != 0) continue;
      const Fingerprint& looked = prints[random() % prints.size()];
      std::vector<uint64_t> expected;
      const auto [from, to] = model.equal_range(looked);
      for (auto at = from; at != to; ++at) expected.push_back(at->second);
      std::sort(expected.begin(), expected.end());
      REQUIRE(blocksOf(index, looked) == expected);
    }
    CHECK(grew);
    uint64_t seen = 0, cursor = 0, last = 0;
    do {
      cursor = index.sweep(cursor, 100, [&](const IndexEntry& entry) {
        CHECK(entry.hash >= last);
        last = entry.hash;
        ++seen;
        return true;
      });
    } while (cursor != 0);
    CHECK(seen == model.size());
  }
}

TEST_CASE("a sweep visits every entry that stays, while entries come and go and the table grows") {
  std::mt19937_64 random(3);
  Index index;
  std::map<uint64_t, int> visits;  // by block
  std::vector<Fingerprint> stay;
  for (uint64_t i = 1; i <= 9000; ++i) {
    stay.push_back({random(), i});
    index.insert(entryOf(stay.back(), i));
    visits[i] = 0;
  }
  uint64_t cursor = 0, block = 1'000'000;
  bool grew = false;
  std::vector<Fingerprint> others;
  do {
    cursor = index.sweep(cursor, 50, [&](const IndexEntry& entry) {
      const auto at = visits.find(entry.block());
      if (at == visits.end()) return entry.block() % 2 == 0;  // half of the others are taken out
      ++at->second;
      return true;
    });
    for (int i = 0; i < 120; ++i) {
      others.push_back({random(), ++block});
      index.insert(entryOf(others.back(), block));
    }
    if (IndexEntry* at = index.first(others[random() % others.size()])) index.erase(at);
    grew = grew || index.growing();
  } while (cursor != 0);
  CHECK(grew);
  for (const auto& [which, count] : visits) CHECK(count == 1);
  for (const Fingerprint& print : stay) CHECK(index.first(print) != nullptr);
}

}  // namespace nabu::store::test
