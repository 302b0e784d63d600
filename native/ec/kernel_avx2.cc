#include <immintrin.h>

#include <algorithm>

#include "ec/cpu.h"
#include "ec/gf256.h"
#include "ec/kernel.h"

// Product by a constant as two 16-entry look-ups (PSHUFB), one for each nibble of the byte:
// "Screaming fast Galois field arithmetic using Intel SIMD instructions" (Plank, Greenan, Miller,
// FAST 2013).

namespace nabu::ec {
namespace {

constexpr size_t kTableBytes = 32;  // 16 products of the low nibble, 16 of the high one
constexpr size_t kStepBytes = 32;
// Of 16 registers: two a row for the tables, one a row for the sum, the input's nibbles and the
// mask.
constexpr int kMaxRowsAtOnce = 4;

void prepare(const Coefficients& coefficients, Tables& tables) {
  const auto& products = gf256::products();
  tables.rows = coefficients.rows;
  tables.columns = coefficients.columns;
  uint8_t* table = tables.bytes.data();
  for (int r = 0; r < tables.rows; ++r) {
    for (int c = 0; c < tables.columns; ++c, table += kTableBytes) {
      const auto& product = products[coefficients.at(r, c)];
      for (int nibble = 0; nibble < 16; ++nibble) {
        table[nibble] = product[static_cast<size_t>(nibble)];
        table[16 + nibble] = product[static_cast<size_t>(nibble) << 4];
      }
    }
  }
}

template <int kRows>
void multiplyRows(const uint8_t* tables, int columns, size_t length, const uint8_t* const* inputs,
                  uint8_t* const* outputs) {
  const __m256i low = _mm256_set1_epi8(0x0f);
  const size_t rowBytes = static_cast<size_t>(columns) * kTableBytes;
  size_t at = 0;
  for (; at + kStepBytes <= length; at += kStepBytes) {
    __m256i sum[kRows];
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) sum[r] = _mm256_setzero_si256();
    for (int c = 0; c < columns; ++c) {
      const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(inputs[c] + at));
      const __m256i lowNibbles = _mm256_and_si256(x, low);
      const __m256i highNibbles = _mm256_and_si256(_mm256_srli_epi64(x, 4), low);
#pragma GCC unroll 4
      for (int r = 0; r < kRows; ++r) {
        const auto* table = reinterpret_cast<const __m128i*>(
            tables + static_cast<size_t>(r) * rowBytes + static_cast<size_t>(c) * kTableBytes);
        const __m256i lows = _mm256_broadcastsi128_si256(_mm_load_si128(table));
        const __m256i highs = _mm256_broadcastsi128_si256(_mm_load_si128(table + 1));
        sum[r] =
            _mm256_xor_si256(sum[r], _mm256_xor_si256(_mm256_shuffle_epi8(lows, lowNibbles),
                                                      _mm256_shuffle_epi8(highs, highNibbles)));
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(outputs[r] + at), sum[r]);
    }
  }
  for (; at < length; ++at) {
    for (int r = 0; r < kRows; ++r) {
      const uint8_t* table = tables + static_cast<size_t>(r) * rowBytes;
      uint8_t sum = 0;
      for (int c = 0; c < columns; ++c, table += kTableBytes) {
        const uint8_t x = inputs[c][at];
        sum ^= static_cast<uint8_t>(table[x & 15] ^ table[16 + (x >> 4)]);
      }
      outputs[r][at] = sum;
    }
  }
}

void multiply(const Tables& tables, size_t length, const uint8_t* const* inputs,
              uint8_t* const* outputs, Stores) {
  for (int row = 0; row < tables.rows; row += kMaxRowsAtOnce) {
    const uint8_t* table = tables.bytes.data() + static_cast<size_t>(row) *
                                                     static_cast<size_t>(tables.columns) *
                                                     kTableBytes;
    switch (std::min(tables.rows - row, kMaxRowsAtOnce)) {
      case 1:
        multiplyRows<1>(table, tables.columns, length, inputs, outputs + row);
        break;
      case 2:
        multiplyRows<2>(table, tables.columns, length, inputs, outputs + row);
        break;
      case 3:
        multiplyRows<3>(table, tables.columns, length, inputs, outputs + row);
        break;
      default:
        multiplyRows<4>(table, tables.columns, length, inputs, outputs + row);
    }
  }
}

}  // namespace

const Kernel kAvx2Kernel = {"avx2", missingForAvx2, prepare, multiply};

}  // namespace nabu::ec
