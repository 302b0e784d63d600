#pragma once

#include <array>
#include <cstdint>

#include "ec/limits.h"

/**
 * Arithmetic in GF(2^8) with the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), the field of ISA-L,
 * so that the same coefficients mean the same bytes there.
 */
namespace nabu::ec::gf256 {

constexpr uint8_t multiply(uint8_t a, uint8_t b) {
  unsigned product = 0;
  for (unsigned shifted = a, bits = b; bits != 0; bits >>= 1) {
    if (bits & 1) product ^= shifted;
    shifted <<= 1;
    if (shifted & 0x100) shifted ^= 0x11d;
  }
  return static_cast<uint8_t>(product);
}

/** a^254, which is 1/a as the multiplicative group has 255 elements. a must not be 0. */
constexpr uint8_t inverse(uint8_t a) {
  uint8_t result = 1;
  for (int i = 0; i < 254; ++i) result = multiply(result, a);
  return result;
}

/** Full product table: the scalar kernel and all matrix work read it. */
const std::array<std::array<uint8_t, 256>, 256>& products();

/** inverse() by table. */
uint8_t inverseOf(uint8_t a);

}  // namespace nabu::ec::gf256
