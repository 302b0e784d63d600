#pragma once

#include <cstdint>

// Constants for CRC32C by carry-less multiplication, all in the bit-reflected form that the
// instructions work in: "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction"
// (Intel, 2009).

namespace nabu::ec::folding {

/** x^n modulo the Castagnoli polynomial. */
constexpr uint32_t powerOfX(int n) {
  uint32_t r = 0x80000000u;
  for (; n > 0; --n) r = (r & 1) != 0 ? r >> 1 ^ 0x82f63b78u : r >> 1;
  return r;
}

/** Moves 128 bits forward by so many bits: `low` for the quadword that comes first in memory. */
struct Fold {
  uint64_t low;
  uint64_t high;
};
constexpr Fold foldBy(int bits) {
  return {uint64_t{powerOfX(bits + 32)} << 1, uint64_t{powerOfX(bits - 32)} << 1};
}

/** Multiplied with a CRC and then reduced by one CRC32 instruction, this moves the CRC forward by
 * so many bytes. */
constexpr uint64_t skipBytes(int bytes) { return powerOfX(bytes * 8 - 33); }

}  // namespace nabu::ec::folding
