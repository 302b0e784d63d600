#include <immintrin.h>

#include <cstring>

#include "ec/cpu.h"
#include "ec/gf256.h"
#include "ec/kernel.h"

// Product by a constant as one 8x8 bit matrix (VGF2P8AFFINEQB): the matrices are made once, so that
// any field polynomial costs the same. A step takes 128 bytes of two input shards at once and adds
// both products with one ternary XOR.

namespace nabu::ec {
namespace {

constexpr size_t kVectorBytes = 64;
constexpr size_t kStepBytes = 2 * kVectorBytes;
constexpr int kXor3 = 0x96;

/** Intel SDM, GF2P8AFFINEQB: bit i of the result is the parity of byte 7 - i of the matrix and the
 * input. */
uint64_t affineMatrix(uint8_t coefficient) {
  uint64_t matrix = 0;
  for (unsigned out = 0; out < 8; ++out) {
    uint64_t row = 0;
    for (unsigned in = 0; in < 8; ++in) {
      const uint8_t image = gf256::products()[coefficient][size_t{1} << in];
      row |= static_cast<uint64_t>(image >> out & 1) << in;
    }
    matrix |= row << (8 * (7 - out));
  }
  return matrix;
}

const std::array<uint64_t, 256>& affineMatrices() {
  static const auto table = [] {
    std::array<uint64_t, 256> t{};
    for (size_t c = 0; c < t.size(); ++c) t[c] = affineMatrix(static_cast<uint8_t>(c));
    return t;
  }();
  return table;
}

void prepare(const Coefficients& coefficients, Tables& tables) {
  const auto& matrices = affineMatrices();
  tables.rows = coefficients.rows;
  tables.columns = coefficients.columns;
  uint8_t* out = tables.bytes.data();
  for (int r = 0; r < tables.rows; ++r) {
    for (int c = 0; c < tables.columns; ++c, out += sizeof(uint64_t)) {
      std::memcpy(out, &matrices[coefficients.at(r, c)], sizeof(uint64_t));
    }
  }
}

/** kVectors vectors of every output at `at`. The last vector of each is cut to `mask`. */
template <int kRows, int kVectors, bool kStream, bool kMasked>
inline __attribute__((always_inline)) void step(const uint64_t* matrices, int columns,
                                                const uint8_t* const* inputs,
                                                uint8_t* const* outputs, size_t at,
                                                __mmask64 mask) {
  const auto load = [mask](const uint8_t* from) {
    return kMasked ? _mm512_maskz_loadu_epi8(mask, from) : _mm512_loadu_si512(from);
  };
  __m512i sum[kRows][kVectors];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) sum[r][v] = _mm512_setzero_si512();
  }
  int c = 0;
  for (; c + 2 <= columns; c += 2) {
    __m512i x[kVectors];
    __m512i y[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      x[v] = load(inputs[c] + at + v * kVectorBytes);
      y[v] = load(inputs[c + 1] + at + v * kVectorBytes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512i mx = _mm512_set1_epi64(static_cast<int64_t>(matrices[r * columns + c]));
      const __m512i my = _mm512_set1_epi64(static_cast<int64_t>(matrices[r * columns + c + 1]));
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        sum[r][v] = _mm512_ternarylogic_epi64(sum[r][v], _mm512_gf2p8affine_epi64_epi8(x[v], mx, 0),
                                              _mm512_gf2p8affine_epi64_epi8(y[v], my, 0), kXor3);
      }
    }
  }
  if (c < columns) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      const __m512i x = load(inputs[c] + at + v * kVectorBytes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const __m512i mx = _mm512_set1_epi64(static_cast<int64_t>(matrices[r * columns + c]));
        sum[r][v] = _mm512_xor_si512(sum[r][v], _mm512_gf2p8affine_epi64_epi8(x, mx, 0));
      }
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      uint8_t* to = outputs[r] + at + v * kVectorBytes;
      if constexpr (kMasked) {
        _mm512_mask_storeu_epi8(to, mask, sum[r][v]);
      } else if constexpr (kStream) {
        _mm512_stream_si512(reinterpret_cast<__m512i*>(to), sum[r][v]);
      } else {
        _mm512_storeu_si512(to, sum[r][v]);
      }
    }
  }
}

template <int kRows, bool kStream>
void multiplyRows(const Tables& tables, size_t length, const uint8_t* const* inputs,
                  uint8_t* const* outputs) {
  const auto* matrices = reinterpret_cast<const uint64_t*>(tables.bytes.data());
  const int columns = tables.columns;
  size_t at = 0;
  for (; at + kStepBytes <= length; at += kStepBytes) {
    step<kRows, 2, kStream, false>(matrices, columns, inputs, outputs, at, 0);
  }
  if (at + kVectorBytes <= length) {
    step<kRows, 1, kStream, false>(matrices, columns, inputs, outputs, at, 0);
    at += kVectorBytes;
  }
  if (at < length) {
    const __mmask64 mask = (__mmask64{1} << (length - at)) - 1;
    step<kRows, 1, false, true>(matrices, columns, inputs, outputs, at, mask);
  }
  // Streaming stores are weakly ordered: whoever is told that the work is done must also see it.
  if constexpr (kStream) _mm_sfence();
}

using MultiplyRows = void (*)(const Tables&, size_t, const uint8_t* const*, uint8_t* const*);
template <bool kStream>
constexpr MultiplyRows kMultiplyRows[] = {multiplyRows<1, kStream>, multiplyRows<2, kStream>,
                                          multiplyRows<3, kStream>, multiplyRows<4, kStream>,
                                          multiplyRows<5, kStream>, multiplyRows<6, kStream>,
                                          multiplyRows<7, kStream>, multiplyRows<8, kStream>};

void multiply(const Tables& tables, size_t length, const uint8_t* const* inputs,
              uint8_t* const* outputs, Stores stores) {
  if (tables.rows == 0) return;
  bool stream = stores == Stores::kStreaming;
  for (int r = 0; r < tables.rows && stream; ++r) {
    stream = reinterpret_cast<uintptr_t>(outputs[r]) % kVectorBytes == 0;
  }
  const auto row = static_cast<size_t>(tables.rows - 1);
  (stream ? kMultiplyRows<true>[row] : kMultiplyRows<false>[row])(tables, length, inputs, outputs);
}

}  // namespace

const Kernel kGfniKernel = {"gfni", missingForGfni, prepare, multiply};

}  // namespace nabu::ec
