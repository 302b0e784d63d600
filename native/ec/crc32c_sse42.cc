#include <nmmintrin.h>
#include <wmmintrin.h>

#include <cstring>

#include "ec/cpu.h"
#include "ec/crc32c.h"
#include "ec/crc32c_folding.h"

// The CRC32 instruction takes 8 bytes a cycle at a latency of three: three lanes run at once and
// are joined.

namespace nabu::ec {
namespace {

constexpr int kLaneBytes = 1360;  // three of them and two words are 4 KiB
constexpr size_t kChunkBytes = size_t{3} * kLaneBytes;

uint64_t word(const uint8_t* from) {
  uint64_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

uint64_t skip(uint64_t crc, uint64_t constant) {
  const __m128i product =
      _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(crc)),
                           _mm_cvtsi64_si128(static_cast<int64_t>(constant)), 0);
  return _mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(product)));
}

uint32_t extend(uint32_t crc, const uint8_t* bytes, size_t length) {
  constexpr uint64_t kOneLane = folding::skipBytes(kLaneBytes);
  constexpr uint64_t kTwoLanes = folding::skipBytes(2 * kLaneBytes);
  uint64_t sum = static_cast<uint32_t>(~crc);
  for (; length >= kChunkBytes; bytes += kChunkBytes, length -= kChunkBytes) {
    uint64_t second = 0;
    uint64_t third = 0;
    for (int at = 0; at < kLaneBytes; at += 8) {
      sum = _mm_crc32_u64(sum, word(bytes + at));
      second = _mm_crc32_u64(second, word(bytes + kLaneBytes + at));
      third = _mm_crc32_u64(third, word(bytes + 2 * kLaneBytes + at));
    }
    sum = skip(sum, kTwoLanes) ^ skip(second, kOneLane) ^ third;
  }
  for (; length >= 8; bytes += 8, length -= 8) sum = _mm_crc32_u64(sum, word(bytes));
  auto rest = static_cast<uint32_t>(sum);
  for (; length > 0; ++bytes, --length) rest = _mm_crc32_u8(rest, *bytes);
  return ~rest;
}

}  // namespace

const Crc32cKernel kCrc32cSse42 = {"sse42", missingForSse42, extend};

}  // namespace nabu::ec
