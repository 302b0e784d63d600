#include <isa-l/erasure_code.h>

#include <algorithm>

#include "ec/cpu.h"
#include "ec/kernel.h"

namespace nabu::ec {
namespace {

// ISA-L takes lengths as int.
constexpr size_t kMaxCallBytes = size_t{1} << 30;

void prepare(const Coefficients& coefficients, Tables& tables) {
  tables.rows = coefficients.rows;
  tables.columns = coefficients.columns;
  if (tables.rows == 0) return;
  Coefficients copy = coefficients;  // the library takes a mutable pointer, though it only reads
  ec_init_tables(copy.columns, copy.rows, copy.values.data(), tables.bytes.data());
}

void multiply(const Tables& tables, size_t length, const uint8_t* const* inputs,
              uint8_t* const* outputs, Stores) {
  if (tables.rows == 0) return;
  std::array<unsigned char*, kMaxDataShards> in{};
  std::array<unsigned char*, kMaxParityShards> out{};
  for (size_t done = 0; done < length;) {
    const size_t step = std::min(length - done, kMaxCallBytes);
    for (int c = 0; c < tables.columns; ++c) in[c] = const_cast<uint8_t*>(inputs[c]) + done;
    for (int r = 0; r < tables.rows; ++r) out[r] = outputs[r] + done;
    ec_encode_data(static_cast<int>(step), tables.columns, tables.rows,
                   const_cast<uint8_t*>(tables.bytes.data()), in.data(), out.data());
    done += step;
  }
}

}  // namespace

const Kernel kIsalKernel = {"isal", missingNothing, prepare, multiply};

}  // namespace nabu::ec
