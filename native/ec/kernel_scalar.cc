#include <cstring>

#include "ec/cpu.h"
#include "ec/gf256.h"
#include "ec/kernel.h"

// The reference that every other kernel is checked against: one table look-up a byte and nothing
// clever.

namespace nabu::ec {
namespace {

void prepare(const Coefficients& coefficients, Tables& tables) {
  tables.rows = coefficients.rows;
  tables.columns = coefficients.columns;
  std::memcpy(tables.bytes.data(), coefficients.values.data(), coefficients.values.size());
}

void multiply(const Tables& tables, size_t length, const uint8_t* const* inputs,
              uint8_t* const* outputs, Stores) {
  const auto& products = gf256::products();
  for (int r = 0; r < tables.rows; ++r) {
    std::memset(outputs[r], 0, length);
    for (int c = 0; c < tables.columns; ++c) {
      const auto& product = products[tables.bytes[static_cast<size_t>(r * tables.columns + c)]];
      for (size_t i = 0; i < length; ++i) outputs[r][i] ^= product[inputs[c][i]];
    }
  }
}

}  // namespace

const Kernel kScalarKernel = {"scalar", missingNothing, prepare, multiply};

}  // namespace nabu::ec
