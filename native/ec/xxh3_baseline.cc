#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "ec/cpu.h"
#include "ec/xxh3.h"

namespace nabu::ec {

namespace detail {

std::array<uint8_t, 16> xxh3Hash128Baseline(const void* bytes, size_t length) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, length));
  std::array<uint8_t, 16> out;
  std::memcpy(out.data(), canonical.digest, out.size());
  return out;
}

}  // namespace detail

std::array<uint8_t, 16> xxh3Hash128(const void* bytes, size_t length) {
#if defined(__x86_64__)
  static const bool kAvx2 = cpuFeatures().avx2;
  if (kAvx2) return detail::xxh3Hash128Avx2(bytes, length);
#endif
  return detail::xxh3Hash128Baseline(bytes, length);
}

}  // namespace nabu::ec
