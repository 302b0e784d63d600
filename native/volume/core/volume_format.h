#pragma once

#include <cstdint>

#include "volume/core/types.h"

// What the files of Volume share.
namespace nabu::volume {

inline constexpr int kMapLevels = 4;    // 2^36 blocks = 256 TiB
inline constexpr int kUsageLevels = 5;  // 2^45 sequences
inline constexpr std::size_t kMaxImagesInFlight = 64;
inline constexpr std::size_t kMaxLeafFetches = 64;

// Value of the usage tree: live blocks in bits 0..23, payload blocks in 24..47, bit 63 = known.
inline constexpr std::uint64_t kUsageKnown = std::uint64_t{1} << 63;
inline constexpr std::uint64_t kUsageCountMask = 0xffffff;
constexpr std::uint32_t liveOf(std::uint64_t usage) { return usage & kUsageCountMask; }
constexpr std::uint32_t totalOf(std::uint64_t usage) { return usage >> 24 & kUsageCountMask; }

inline Error wrongState(const char* operation, const char* reason) {
  return {Failure::kWrongState, operation, reason};
}

}  // namespace nabu::volume
