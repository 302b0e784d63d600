// index_bench [ENTRIES]: lookups of keys that are held, beside std::unordered_map with the same
// hash, the same reserve and the same order. Prints one JSON object a line. Nothing here asserts a
// time.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/index.h"

namespace nabu::store {
namespace {

constexpr uint64_t kSalt = 0x9e3779b97f4a7c15;
constexpr size_t kBatch = 16;
constexpr int kRounds = 5;
constexpr size_t kLookups = 2'000'000;

double nowNs() {
  return std::chrono::duration<double, std::nano>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Key keyOf(uint64_t number) {
  Key key{};
  for (int i = 0; i < 4; ++i) {
    number = (number ^ (number >> 31)) * 0xbf58476d1ce4e5b9 + static_cast<uint64_t>(i);
    std::memcpy(key.data() + 8 * i, &number, 8);
  }
  return key;
}

struct SameHash {
  size_t operator()(const Key& key) const { return fingerprint(key.data(), kSalt).hash; }
};
struct Value {
  uint64_t block;
  uint64_t stamp;
  uint8_t stripeId[16];
};

int main(uint64_t entries) {
  Index index(entries);
  std::unordered_map<Key, Value, SameHash> peer;
  peer.reserve(entries);
  for (uint64_t i = 0; i < entries; ++i) {
    const Key key = keyOf(i);
    const Fingerprint print = fingerprint(key.data(), kSalt);
    IndexEntry entry{};
    entry.hash = print.hash;
    entry.tag = print.tag;
    entry.flags = kShard;
    entry.setBlock(i);
    index.insert(entry);
    peer.emplace(key, Value{i, 0, {}});
  }
  std::mt19937_64 random(1);
  std::vector<Key> order(kLookups);
  for (Key& key : order) key = keyOf(random() % entries);

  std::vector<double> ours, theirs, oursChained, theirsChained;
  uint64_t sum = 0, wrong = 0;
  for (int round = 0; round < kRounds; ++round) {
    double begun = nowNs();
    for (size_t at = 0; at + kBatch <= kLookups; at += kBatch) {
      Fingerprint prints[kBatch];
      for (size_t i = 0; i < kBatch; ++i) {
        prints[i] = fingerprint(order[at + i].data(), kSalt);
        index.prefetch(prints[i]);
      }
      for (size_t i = 0; i < kBatch; ++i) {
        const IndexEntry* found = index.first(prints[i]);
        if (found == nullptr) {
          ++wrong;
        } else {
          sum += found->block();
        }
      }
    }
    ours.push_back((nowNs() - begun) / kLookups);
    begun = nowNs();
    for (const Key& key : order) {
      const auto found = peer.find(key);
      if (found == peer.end()) {
        ++wrong;
      } else {
        sum -= found->second.block;
      }
    }
    theirs.push_back((nowNs() - begun) / kLookups);

    // Each key depends on what the last lookup found: nothing overlaps.
    const size_t chained = kLookups / 4;
    uint64_t at = static_cast<uint64_t>(round);
    begun = nowNs();
    for (size_t i = 0; i < chained; ++i) {
      const Fingerprint print = fingerprint(order[at].data(), kSalt);
      at = (index.first(print)->block() * 2654435761U + i) % kLookups;
    }
    oursChained.push_back((nowNs() - begun) / static_cast<double>(chained));
    sum += at;
    at = static_cast<uint64_t>(round);
    begun = nowNs();
    for (size_t i = 0; i < chained; ++i) {
      at = (peer.find(order[at])->second.block * 2654435761U + i) % kLookups;
    }
    theirsChained.push_back((nowNs() - begun) / static_cast<double>(chained));
    sum -= at;
  }
  if (wrong != 0 || sum != 0) {
    std::fprintf(stderr, "index_bench: the two disagree\n");
    return 1;
  }
  const std::string common = std::to_string(entries) + " entries of 64 bytes in " +
                             (index.hugePages() ? "2 MiB pages (transparent)" : "4 KiB pages") +
                             "; peer std::unordered_map, same hash, reserve and order; ns a "
                             "lookup, median of 5 interleaved rounds, ratio = peer / ours";
  const auto row = [&](const char* name, double mine, double other, const std::string& method) {
    std::printf(
        "{\"name\":\"%s\",\"unit\":\"ns\",\"ours\":%.1f,\"peer\":%.1f,\"ratio\":%.3f,\"method\":\"%"
        "s\"}\n",
        name, mine, other, other / mine, method.c_str());
  };
  row("index.lookup", median(ours), median(theirs),
      "independent lookups in batches of 16; " + common);
  row("index.lookup.chained", median(oursChained), median(theirsChained),
      "each key follows from the last answer; " + common);
  return 0;
}

}  // namespace
}  // namespace nabu::store

int main(int argc, char** argv) {
  return nabu::store::main(argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 10'000'000);
}
