#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "volume/core/flat_map.h"
#include "volume/core/locked_memory.h"
#include "volume/core/types.h"

namespace nabu::volume {

// Blocks of the log in a fixed amount of memory, by location; a location never changes its content,
// so there is nothing to invalidate. CLOCK in each of many shards, each under its own lock;
// neighbouring blocks share a shard so that a run costs few locks. Thread safe.
class ReadCache {
 public:
  explicit ReadCache(std::size_t bytes, SharedMemory from = {});
  /** Memory that a cache of that size takes: whole shards. */
  static std::size_t memoryBytes(std::size_t bytes);

  /** Copies the blocks it has of [first, first + count) (one image) to `to`; bit i of the answer =
   * block i was copied. count <= 64. */
  std::uint64_t read(Location first, std::uint32_t count, std::byte* to);
  /** Which of [first, first + count) are here. count <= 64. */
  std::uint64_t present(Location first, std::uint32_t count);
  /** used: counts as read already, so that it outlives one round of the clock. */
  void insert(Location first, std::uint32_t count, const std::byte* from, bool used);

  std::size_t capacityBlocks() const { return capacity_; }
  std::size_t usedBlocks() const { return used_.load(std::memory_order_relaxed); }
  /** Nothing has to go yet for something new. */
  bool hasRoom() const { return usedBlocks() < capacity_ - capacity_ / 16; }

 private:
  static constexpr std::uint32_t kShards = 64;
  static constexpr std::uint32_t kGroupShift = 5;  // blocks of 128 KiB share a shard

  struct Shard {
    mutable std::mutex mutex;
    FlatMap<std::uint32_t> slots;
    std::vector<Location> locations;  // 0 = free
    std::vector<bool> referenced;
    std::uint32_t first = 0;  // slot number of the shard's first block
    std::uint32_t hand = 0;
  };
  Shard& shardOf(Location location) {
    return shards_[(location >> kGroupShift) * 0x9e3779b97f4a7c15ULL >> 58];
  }
  std::byte* slotBytes(const Shard& shard, std::uint32_t slot) const {
    return memory_.bytes() + (std::size_t{shard.first} + slot) * kBlockBytes;
  }
  template <class F>
  static void forEachGroup(Location first, std::uint32_t count, F&& visit);
  std::uint32_t takeSlot(Shard& shard);

  std::size_t capacity_;
  std::atomic<std::size_t> used_{0};
  LockedMemory memory_;
  std::array<Shard, kShards> shards_;
};

}  // namespace nabu::volume
