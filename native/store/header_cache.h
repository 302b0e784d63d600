#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "store/format.h"

namespace nabu::store {

/** Record headers read lately, so that a small range costs one read. Direct-mapped, bounded. */
class HeaderCache {
 public:
  const RecordHeader* find(uint64_t block, uint64_t generation) const {
    const Slot& slot = slots_[block % kSlots];
    if (slot.block != block || slot.generation != generation || slot.bytes.empty()) return nullptr;
    return reinterpret_cast<const RecordHeader*>(slot.bytes.data());
  }
  void put(uint64_t block, const RecordHeader& header) {
    const uint32_t length = recordHeaderLength(header);
    if (length > kMaxHeaderBytes) return;
    Slot& slot = slots_[block % kSlots];
    slot.block = block;
    slot.generation = header.generation;
    slot.bytes.resize((length + 7) / 8);
    std::memcpy(slot.bytes.data(), &header, length);
  }

 private:
  static constexpr uint64_t kSlots = 8192;
  static constexpr uint32_t kMaxHeaderBytes = 4096;
  struct Slot {
    uint64_t block = 0;
    uint64_t generation = 0;
    std::vector<uint64_t> bytes;  // for its alignment
  };
  std::vector<Slot> slots_ = std::vector<Slot>(kSlots);
};

}  // namespace nabu::store
