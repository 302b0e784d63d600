#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "volume/core/flat_map.h"
#include "volume/core/types.h"

namespace nabu::volume {

// What the ring says about blocks, over what the map says: the newest record of each block that is
// not applied to the map yet. Long trims are kept as ranges, everything else by block. Not thread
// safe.
class Overlay {
 public:
  static constexpr std::uint64_t kZeros = ~std::uint64_t{0};
  static constexpr std::uint64_t kLongTrimBlocks = 64;
  static constexpr std::size_t kMaxRanges = 256;

  bool empty() const { return blocks_.empty() && ranges_.empty(); }
  bool full() const { return ranges_.size() >= kMaxRanges; }

  /** Record `index` wrote the blocks; their data lies from `position` on. */
  void write(std::uint64_t index, std::uint64_t block, std::uint64_t count,
             std::uint64_t position) {
    for (std::uint64_t i = 0; i < count; ++i) put(index, block + i, position + i * kBlockBytes);
  }

  void trim(std::uint64_t index, std::uint64_t block, std::uint64_t count) {
    if (count > kLongTrimBlocks) {
      ranges_.push_back({index, block, block + count});
    } else {
      for (std::uint64_t i = 0; i < count; ++i) put(index, block + i, kZeros);
    }
  }

  /** Ring position of the block's data, kZeros, or nothing when only the map knows. */
  std::optional<std::uint64_t> find(std::uint64_t block) const {
    const Value* value = blocks_.find(block);
    for (const Range& range : ranges_) {
      if (block >= range.first && block < range.end &&
          (value == nullptr || value->index < range.index)) {
        return kZeros;
      }
    }
    if (value == nullptr) return std::nullopt;
    return value->position;
  }

  /** The block of record `index` is in the map now. */
  void applied(std::uint64_t index, std::uint64_t block) {
    const Value* value = blocks_.find(block);
    if (value != nullptr && value->index == index) blocks_.erase(block);
  }
  void trimApplied(std::uint64_t index, std::uint64_t block, std::uint64_t count) {
    if (count > kLongTrimBlocks) {
      std::erase_if(ranges_, [&](const Range& range) { return range.index == index; });
    } else {
      for (std::uint64_t i = 0; i < count; ++i) applied(index, block + i);
    }
  }

 private:
  struct Value {
    std::uint64_t index = 0;
    std::uint64_t position = 0;
  };
  struct Range {
    std::uint64_t index;
    std::uint64_t first;
    std::uint64_t end;
  };
  // Two threads may arrive out of order: the later record wins.
  void put(std::uint64_t index, std::uint64_t block, std::uint64_t position) {
    const std::size_t before = blocks_.size();
    Value& value = blocks_.at(block);
    if (blocks_.size() != before || value.index <= index) value = {index, position};
  }

  FlatMap<Value> blocks_{4096};
  std::vector<Range> ranges_;
};

}  // namespace nabu::volume
