#include <immintrin.h>

#include <cstring>

#include "ec/cpu.h"
#include "ec/crc32c.h"
#include "ec/crc32c_folding.h"

// Four 512-bit accumulators are folded over 256 bytes a step, then into one, and the CRC32
// instruction reduces the last 16 bytes.

namespace nabu::ec {
namespace {

constexpr size_t kVectorBytes = 64;
constexpr size_t kStepBytes = 4 * kVectorBytes;

template <int kBits>
__m128i constant() {
  constexpr folding::Fold kFold = folding::foldBy(kBits);
  return _mm_set_epi64x(static_cast<int64_t>(kFold.high), static_cast<int64_t>(kFold.low));
}

__m512i fold(__m512i sum, __m512i by, __m512i next) {
  return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(sum, by, 0x00),
                                   _mm512_clmulepi64_epi128(sum, by, 0x11), next, 0x96);
}

__m128i fold(__m128i sum, __m128i by, __m128i next) {
  return _mm_ternarylogic_epi64(_mm_clmulepi64_si128(sum, by, 0x00),
                                _mm_clmulepi64_si128(sum, by, 0x11), next, 0x96);
}

uint32_t extend(uint32_t crc, const uint8_t* bytes, size_t length) {
  uint64_t sum = static_cast<uint32_t>(~crc);
  if (length >= kStepBytes) {
    const __m512i byStep = _mm512_broadcast_i32x4(constant<kStepBytes * 8>());
    const __m512i byVector = _mm512_broadcast_i32x4(constant<kVectorBytes * 8>());
    const auto load = [&bytes](size_t v) { return _mm512_loadu_si512(bytes + v * kVectorBytes); };
    // What the CRC is so far is XORed into the first four bytes.
    __m512i a = _mm512_xor_si512(
        load(0), _mm512_zextsi128_si512(_mm_cvtsi64_si128(static_cast<int64_t>(sum))));
    __m512i b = load(1);
    __m512i c = load(2);
    __m512i d = load(3);
    bytes += kStepBytes;
    length -= kStepBytes;
    for (; length >= kStepBytes; bytes += kStepBytes, length -= kStepBytes) {
      a = fold(a, byStep, load(0));
      b = fold(b, byStep, load(1));
      c = fold(c, byStep, load(2));
      d = fold(d, byStep, load(3));
    }
    d = fold(fold(fold(a, byVector, b), byVector, c), byVector, d);
    const __m128i byLane = constant<128>();
    __m128i last = _mm512_castsi512_si128(d);
    last = fold(last, byLane, _mm512_extracti32x4_epi32(d, 1));
    last = fold(last, byLane, _mm512_extracti32x4_epi32(d, 2));
    last = fold(last, byLane, _mm512_extracti32x4_epi32(d, 3));
    sum = _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(last)));
    sum = _mm_crc32_u64(sum, static_cast<uint64_t>(_mm_extract_epi64(last, 1)));
  }
  for (; length >= 8; bytes += 8, length -= 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    sum = _mm_crc32_u64(sum, word);
  }
  auto rest = static_cast<uint32_t>(sum);
  for (; length > 0; ++bytes, --length) rest = _mm_crc32_u8(rest, *bytes);
  return ~rest;
}

}  // namespace

const Crc32cKernel kCrc32cVpclmul = {"vpclmul", missingForVpclmul, extend};

}  // namespace nabu::ec
