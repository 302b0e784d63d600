#include "volume/core/read_cache.h"

#include <algorithm>
#include <cstring>

namespace nabu::volume {

std::size_t ReadCache::memoryBytes(std::size_t bytes) {
  return std::max<std::size_t>(bytes / kBlockBytes / kShards, 1) * kShards * kBlockBytes;
}

ReadCache::ReadCache(std::size_t bytes, SharedMemory from)
    : capacity_(memoryBytes(bytes) / kBlockBytes), memory_(memoryBytes(bytes), from) {
  if (memory_.bytes() == nullptr) capacity_ = 0;
  const auto each = static_cast<std::uint32_t>(capacity_ / kShards);
  for (std::uint32_t i = 0; i < kShards; ++i) {
    shards_[i].slots = FlatMap<std::uint32_t>(each);
    shards_[i].locations.assign(each, 0);
    shards_[i].referenced.assign(each, false);
    shards_[i].first = i * each;
  }
}

template <class F>
void ReadCache::forEachGroup(Location first, std::uint32_t count, F&& visit) {
  for (std::uint32_t done = 0; done < count;) {
    const Location from = first + done;
    const auto rest =
        static_cast<std::uint32_t>((1U << kGroupShift) - (from & ((1U << kGroupShift) - 1)));
    const std::uint32_t n = std::min(rest, count - done);
    visit(from, done, n);
    done += n;
  }
}

std::uint64_t ReadCache::read(Location first, std::uint32_t count, std::byte* to) {
  std::uint64_t copied = 0;
  if (capacity_ == 0) return 0;
  forEachGroup(first, count, [&](Location from, std::uint32_t at, std::uint32_t n) {
    Shard& shard = shardOf(from);
    const std::lock_guard lock(shard.mutex);
    for (std::uint32_t i = 0; i < n; ++i) {
      const std::uint32_t* slot = shard.slots.find(from + i);
      if (slot == nullptr) continue;
      std::memcpy(to + (std::size_t{at} + i) * kBlockBytes, slotBytes(shard, *slot), kBlockBytes);
      shard.referenced[*slot] = true;
      copied |= std::uint64_t{1} << (at + i);
    }
  });
  return copied;
}

std::uint64_t ReadCache::present(Location first, std::uint32_t count) {
  std::uint64_t here = 0;
  if (capacity_ == 0) return 0;
  forEachGroup(first, count, [&](Location from, std::uint32_t at, std::uint32_t n) {
    Shard& shard = shardOf(from);
    const std::lock_guard lock(shard.mutex);
    for (std::uint32_t i = 0; i < n; ++i) {
      if (shard.slots.find(from + i) != nullptr) here |= std::uint64_t{1} << (at + i);
    }
  });
  return here;
}

std::uint32_t ReadCache::takeSlot(Shard& shard) {
  const auto size = static_cast<std::uint32_t>(shard.locations.size());
  while (true) {
    const std::uint32_t slot = shard.hand;
    shard.hand = slot + 1 == size ? 0 : slot + 1;
    if (shard.locations[slot] == 0) {
      used_.fetch_add(1, std::memory_order_relaxed);
      return slot;
    }
    if (!shard.referenced[slot]) {
      shard.slots.erase(shard.locations[slot]);
      return slot;
    }
    shard.referenced[slot] = false;
  }
}

void ReadCache::insert(Location first, std::uint32_t count, const std::byte* from, bool used) {
  if (capacity_ == 0) return;
  forEachGroup(first, count, [&](Location at, std::uint32_t done, std::uint32_t n) {
    Shard& shard = shardOf(at);
    const std::lock_guard lock(shard.mutex);
    for (std::uint32_t i = 0; i < n; ++i) {
      if (shard.slots.find(at + i) != nullptr) continue;
      const std::uint32_t slot = takeSlot(shard);
      shard.locations[slot] = at + i;
      shard.referenced[slot] = used;
      shard.slots.at(at + i) = slot;
      std::memcpy(slotBytes(shard, slot), from + (std::size_t{done} + i) * kBlockBytes,
                  kBlockBytes);
    }
  });
}

}  // namespace nabu::volume
