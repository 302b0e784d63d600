#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "ec/code_matrix.h"

namespace nabu::ec {

/** A coefficient matrix in the form that one kernel multiplies with; at most 32 bytes a
 * coefficient. */
struct Tables {
  int rows = 0;
  int columns = 0;
  alignas(64) std::array<uint8_t, size_t{kMaxParityShards} * kMaxDataShards * 32> bytes;
};

/** Whether results go through the caches, or past them to memory (for working sets that no cache
 * holds). */
enum class Stores { kCached, kStreaming };

/**
 * One way of computing outputs[r] = sum over c of coefficient(r, c) * inputs[c] in GF(2^8).
 * Inputs and outputs may have any alignment; no output may overlap another buffer. kStreaming is a
 * wish.
 */
struct Kernel {
  const char* name;
  /** Empty when this machine can run it, else what is missing. */
  std::string (*missing)();
  void (*prepare)(const Coefficients& coefficients, Tables& tables);
  void (*multiply)(const Tables& tables, size_t length, const uint8_t* const* inputs,
                   uint8_t* const* outputs, Stores stores);
};

extern const Kernel kScalarKernel;
extern const Kernel kIsalKernel;
extern const Kernel kAvx2Kernel;
extern const Kernel kGfniKernel;

}  // namespace nabu::ec
