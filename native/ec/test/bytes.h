#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace nabu::ec::testing {

/** k + m shards of seeded bytes, each in memory of its own so that a sanitizer sees any overrun. */
class Shards {
 public:
  Shards(int count, size_t length, uint64_t seed, size_t misalign = 0) : length_(length) {
    std::mt19937_64 random(seed);
    for (int i = 0; i < count; ++i) {
      memory_.push_back(std::make_unique<uint8_t[]>(length + misalign));
      pointers_.push_back(memory_.back().get() + misalign);
      for (size_t b = 0; b < length; ++b) pointers_.back()[b] = static_cast<uint8_t>(random());
    }
  }
  uint8_t* const* all() { return pointers_.data(); }
  const uint8_t* const* all() const { return pointers_.data(); }
  uint8_t* operator[](int shard) { return pointers_[static_cast<size_t>(shard)]; }
  std::vector<uint8_t> copyOf(int shard) const {
    const uint8_t* from = pointers_[static_cast<size_t>(shard)];
    return {from, from + length_};
  }

 private:
  size_t length_;
  std::vector<std::unique_ptr<uint8_t[]>> memory_;
  std::vector<uint8_t*> pointers_;
};

}  // namespace nabu::ec::testing
