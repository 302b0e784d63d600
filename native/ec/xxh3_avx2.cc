// Compiled with AVX2 on; libxxhash chooses its vector code by the compiler's target.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "ec/xxh3.h"

#if XXH_VECTOR < XXH_AVX2
#error "this file must be compiled for AVX2"
#endif

namespace nabu::ec::detail {

std::array<uint8_t, 16> xxh3Hash128Avx2(const void* bytes, size_t length) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes, length));
  std::array<uint8_t, 16> out;
  std::memcpy(out.data(), canonical.digest, out.size());
  return out;
}

}  // namespace nabu::ec::detail
