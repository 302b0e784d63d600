#include "ec/code_matrix.h"

#include <bit>
#include <string>
#include <utility>

#include "ec/gf256.h"

namespace nabu::ec {
namespace {

using Square = std::array<std::array<uint8_t, kMaxParityShards>, kMaxParityShards>;

constexpr auto kParity = [] {
  std::array<std::array<uint8_t, kMaxDataShards>, kMaxParityShards> a{};
  for (int r = 0; r < kMaxParityShards; ++r) {
    for (int c = 0; c < kMaxDataShards; ++c) {
      a[r][c] = gf256::inverse(static_cast<uint8_t>((kMaxDataShards + r) ^ c));
    }
  }
  for (int c = 0; c < kMaxDataShards; ++c) {
    const uint8_t scale = gf256::inverse(a[0][c]);
    for (int r = 0; r < kMaxParityShards; ++r) a[r][c] = gf256::multiply(a[r][c], scale);
  }
  for (int r = 1; r < kMaxParityShards; ++r) {
    const uint8_t scale = gf256::inverse(a[r][0]);
    for (int c = 0; c < kMaxDataShards; ++c) a[r][c] = gf256::multiply(a[r][c], scale);
  }
  return a;
}();

/** Gauss-Jordan. The matrix is a submatrix of a scaled Cauchy matrix, so a pivot always exists. */
Square invert(Square a, int size) {
  const auto& product = gf256::products();
  Square result{};
  for (int i = 0; i < kMaxParityShards; ++i) result[i][i] = 1;
  for (int column = 0; column < size; ++column) {
    int pivot = column;
    while (a[pivot][column] == 0) ++pivot;
    std::swap(a[pivot], a[column]);
    std::swap(result[pivot], result[column]);
    const auto& scale = product[gf256::inverseOf(a[column][column])];
    for (int i = 0; i < size; ++i) {
      a[column][i] = scale[a[column][i]];
      result[column][i] = scale[result[column][i]];
    }
    for (int row = 0; row < size; ++row) {
      if (row == column || a[row][column] == 0) continue;
      const auto& factor = product[a[row][column]];
      for (int i = 0; i < size; ++i) {
        a[row][i] ^= factor[a[column][i]];
        result[row][i] ^= factor[result[column][i]];
      }
    }
  }
  return result;
}

Error badArgument(std::string message) { return {ErrorCode::kBadArgument, std::move(message)}; }

}  // namespace

uint8_t parityCoefficient(int row, int column) { return kParity[row][column]; }

Coefficients parityMatrix(int dataShards, int parityShards) {
  Coefficients c;
  c.rows = parityShards;
  c.columns = dataShards;
  for (int r = 0; r < parityShards; ++r) {
    for (int j = 0; j < dataShards; ++j) c.at(r, j) = kParity[r][j];
  }
  return c;
}

Result<DecodePlan> planDecode(int dataShards, int parityShards, uint32_t presentMask,
                              uint32_t wantedMask) {
  const int k = dataShards;
  const int total = k + parityShards;
  const uint32_t all = (1u << total) - 1;
  if ((presentMask & ~all) != 0 || (wantedMask & ~all) != 0) {
    return badArgument("a mask names a shard above " + std::to_string(total - 1));
  }
  if ((presentMask & wantedMask) != 0) {
    return badArgument("shard " + std::to_string(std::countr_zero(presentMask & wantedMask)) +
                       " is both present and wanted");
  }
  if (std::popcount(presentMask) < k) {
    return Error{ErrorCode::kTooFewShards, std::to_string(std::popcount(presentMask)) + " of " +
                                               std::to_string(k) + " needed shards are present"};
  }

  const auto& product = gf256::products();
  DecodePlan plan;
  // Inputs: every present data shard in its own place, and in the place of each lost one a present
  // parity shard.
  std::array<uint8_t, kMaxParityShards> lost{};
  std::array<uint8_t, kMaxParityShards> parityRow{};
  int lostCount = 0;
  int nextParity = k;
  for (int c = 0; c < k; ++c) {
    if (presentMask >> c & 1) {
      plan.inputs[c] = static_cast<uint8_t>(c);
      continue;
    }
    while (!(presentMask >> nextParity & 1)) ++nextParity;
    plan.inputs[c] = static_cast<uint8_t>(nextParity);
    lost[lostCount] = static_cast<uint8_t>(c);
    parityRow[lostCount] = static_cast<uint8_t>(nextParity - k);
    ++lostCount;
    ++nextParity;
  }

  Square system{};
  for (int r = 0; r < lostCount; ++r) {
    for (int c = 0; c < lostCount; ++c) system[r][c] = kParity[parityRow[r]][lost[c]];
  }
  const Square solved = invert(system, lostCount);

  // Each lost data shard as a row over the inputs.
  std::array<std::array<uint8_t, kMaxDataShards>, kMaxParityShards> lostRows{};
  for (int i = 0; i < lostCount; ++i) {
    int parityColumn = 0;
    for (int c = 0; c < k; ++c) {
      if (plan.inputs[c] != c) {
        lostRows[i][c] = solved[i][parityColumn++];
        continue;
      }
      uint8_t sum = 0;
      for (int r = 0; r < lostCount; ++r) sum ^= product[solved[i][r]][kParity[parityRow[r]][c]];
      lostRows[i][c] = sum;
    }
  }

  plan.coefficients.columns = k;
  int row = 0;
  for (int shard = 0; shard < total; ++shard) {
    if (!(wantedMask >> shard & 1)) continue;
    plan.outputs[row] = static_cast<uint8_t>(shard);
    for (int c = 0; c < k; ++c) {
      uint8_t value = 0;
      if (shard < k) {
        int i = 0;
        while (lost[i] != shard) ++i;
        value = lostRows[i][c];
      } else {
        // Parity of the data, with each lost data shard replaced by its row.
        if (plan.inputs[c] == c) value = kParity[shard - k][c];
        for (int i = 0; i < lostCount; ++i) {
          value ^= product[kParity[shard - k][lost[i]]][lostRows[i][c]];
        }
      }
      plan.coefficients.at(row, c) = value;
    }
    ++row;
    plan.coefficients.rows = row;
  }
  return plan;
}

}  // namespace nabu::ec
