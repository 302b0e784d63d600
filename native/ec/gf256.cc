#include "ec/gf256.h"

namespace nabu::ec::gf256 {

const std::array<std::array<uint8_t, 256>, 256>& products() {
  static const auto table = [] {
    std::array<std::array<uint8_t, 256>, 256> t{};
    for (int a = 0; a < 256; ++a) {
      for (int b = 0; b < 256; ++b) {
        t[a][b] = multiply(static_cast<uint8_t>(a), static_cast<uint8_t>(b));
      }
    }
    return t;
  }();
  return table;
}

uint8_t inverseOf(uint8_t a) {
  static const auto table = [] {
    std::array<uint8_t, 256> t{};
    for (int i = 1; i < 256; ++i) t[i] = inverse(static_cast<uint8_t>(i));
    return t;
  }();
  return table[a];
}

}  // namespace nabu::ec::gf256
