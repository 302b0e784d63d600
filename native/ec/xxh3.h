#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace nabu::ec {

/** XXH3-128 with seed 0 in canonical form (high half first, big endian), by the widest vectors of
 * this processor. */
std::array<uint8_t, 16> xxh3Hash128(const void* bytes, size_t length);

namespace detail {
// The same library code compiled for different instructions.
std::array<uint8_t, 16> xxh3Hash128Baseline(const void* bytes, size_t length);
std::array<uint8_t, 16> xxh3Hash128Avx2(const void* bytes, size_t length);
}  // namespace detail

}  // namespace nabu::ec
